// What is told of one box of the network.
function details(view, i) {
  if (i < 0) return [element("p", { class: "small" }, "Click a box for what it is and why.")];
  const net = view.net, region = view.region(i), parts = [];
  const colour = region === null ? "transparent" : view.colours[region.precision];
  parts.push(element("h3", {}, chip(colour), net.label[i]), element("p", {}, net.module[i] || net.name[i]));
  const facts = [];
  const tell = (name, told) => { if (told) facts.push(element("tr", {}, element("th", {}, name), element("td", {}, told))); };
  tell("name", net.module[i] ? net.name[i] : "");
  tell("source", net.source[i]);
  tell("result", net.shape[i]);
  if (region === null) tell("in no region", net.note[i]);
  else {
    tell("precision", region.precision);
    tell("why", region.reason);
    tell("time", region.time ? `${region.time}${region.float ? `, ${region.float} in float` : ""}` : "");
    tell("loss alone", region.loss);
    tell("own noise", region.noise);
    tell("weights", region.size ? `${region.size}${region.fsize && region.fsize !== region.size ? `, ${region.fsize} in float` : ""}` : "");
  }
  parts.push(element("table", { class: "plain" }, ...facts));
  if (region !== null) parts.push(...forms(region), ...(region.values || []).map((k) => valueFigure(data.values[k])));
  parts.push(neighbours(view, "reads", view.sources[i]), neighbours(view, "read by", view.readers[i]));
  return parts;
}

function forms(region) {
  if (!region.forms || region.forms.length < 2) return [];
  const rows = region.forms.map(([name, time, loss]) =>
    element("tr", {}, element("td", {}, chip(data.colours[name] || "transparent"), name), element("td", { class: "n" }, time), element("td", { class: "n" }, loss)));
  const head = element("tr", {}, element("th", {}, "form"), element("th", { class: "n" }, "time"), element("th", { class: "n" }, "loss"));
  return [element("h3", {}, "Forms it may have"), element("table", {}, head, ...rows)];
}

function neighbours(view, title, list) {
  if (!list.length) return null;
  const some = list.slice(0, 12).map((j) =>
    element("button", { type: "button", onclick: () => view.choose(j, true) }, `${view.net.label[j]} ${view.tail(view.net.module[j] || view.net.name[j], 28)}`));
  return element("p", {}, element("span", { class: "small" }, `${title} `), ...some, list.length > 12 ? ` and ${list.length - 12} more` : null);
}
