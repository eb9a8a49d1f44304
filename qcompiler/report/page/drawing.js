// The data, and small things made of it. Texts become text nodes only, never markup.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}

function shape(tag, properties) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  return made;
}

function chip(colour) {
  const made = element("span", { class: "chip" });
  made.style.background = colour;
  return made;
}

// The colour of a share between 0 and 1; white text can be read on all of them.
function heat(share) {
  const at = Math.min(1, share) * (data.heat.length - 1), k = Math.min(Math.floor(at), data.heat.length - 2);
  const part = (from) => [data.heat[k], data.heat[k + 1]].map((each) => parseInt(each.slice(from, from + 2), 16));
  return `rgb(${[1, 3, 5].map((from) => { const [a, b] = part(from); return Math.round(a + (b - a) * (at - k)); }).join(",")})`;
}

const place = new Map([...data.alphabet].map((letter, index) => [letter, index]));
const base = data.alphabet.length;

// Heights of the bars between 0 and 1; what was counted at all is above 0.
function unpacked(text) {
  const bars = [];
  for (let i = 0; i < text.length; i += 2) {
    bars.push((place.get(text[i]) * base + place.get(text[i + 1])) / (base * base - 1));
  }
  return bars;
}

// Bars on a scale by square root, so that thin tails are seen; outside the range they are marked.
function histogram(value) {
  const width = 300, height = 80;
  const [start, end] = value.range;
  let low = value.low, high = value.high;
  if (value.bars === undefined) [low, high] = value.range;
  const reach = high - low || 1;
  const left = Math.max(low - reach / 3, Math.min(low, start));
  const right = Math.min(high + reach / 3, Math.max(high, end));
  const across = (x) => (width * (x - left)) / (right - left || 1);
  const drawn = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `histogram of ${value.key}` });
  const bandLeft = Math.max(0, across(start)), bandRight = Math.min(width, across(end));
  drawn.append(shape("rect", { class: "band", x: bandLeft, y: 0, width: Math.max(0, bandRight - bandLeft), height }));
  if (value.bars !== undefined) {
    const bars = unpacked(value.bars);
    const step = (high - low) / bars.length;
    bars.forEach((share, i) => {
      if (share === 0) return;
      const from = low + i * step, middle = from + step / 2, tall = Math.max(1.5, Math.sqrt(share) * (height - 4));
      const kind = middle < start || middle > end ? "bar cut" : "bar";
      drawn.append(shape("rect", { class: kind, x: across(from), y: height - tall, width: Math.max(0.6, across(from + step) - across(from) - 0.4), height: tall }));
    });
  }
  for (const x of [start, end]) {
    if (across(x) >= 0 && across(x) <= width) drawn.append(shape("line", { class: "end", x1: across(x), x2: across(x), y1: 0, y2: height }));
  }
  return drawn;
}

function valueFigure(value) {
  const facts = value.facts.map(([name, told]) => element("tr", {}, element("th", {}, name), element("td", {}, told)));
  return element("figure", {}, element("figcaption", {}, `${value.kind} ${value.key}`), histogram(value), element("table", {}, ...facts));
}
