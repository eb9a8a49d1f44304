// Joins the parts of the page.
let view = null, table = null, gallery = null;

if (byId("graph")) {
  view = new NetworkView(byId("graph"), data.network, data.regions, data.colours, data.box);
  view.onchoose = (i) => byId("details").replaceChildren(...details(view, i).filter((each) => each !== null));
  let found = [], next = 0;
  byId("search").addEventListener("input", () => {
    found = view.search(byId("search").value); next = 0;
    byId("hits").textContent = byId("search").value ? `${found.length} found${found.length > 1 ? ", Enter goes through them" : ""}` : "";
  });
  byId("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && found.length) { view.choose(found[next % found.length], true); next++; }
  });
  byId("colour").addEventListener("change", () => { view.mode = byId("colour").value; view.redraw(); });
  byId("in").addEventListener("click", () => view.zoom(1.4));
  byId("out").addEventListener("click", () => view.zoom(1 / 1.4));
  byId("fit").addEventListener("click", () => view.fit());
  for (const button of document.querySelectorAll("#legend button")) {
    button.addEventListener("click", () => {
      const name = button.dataset.precision;
      if (view.off.has(name)) view.off.delete(name); else view.off.add(name);
      button.setAttribute("aria-pressed", String(!view.off.has(name)));
      view.redraw();
    });
  }
  view.fit();
}

if (byId("table")) {
  table = new LayerTable(byId("table"), data.regions, (row) => {
    if (view === null) return;
    byId("network").scrollIntoView();
    view.chooseRegion(row);
    byId("graph").focus({ preventScroll: true });
  });
  byId("filter").addEventListener("input", () => table.filter(byId("filter").value));
  byId("previous").addEventListener("click", () => table.turn(-1));
  byId("next").addEventListener("click", () => table.turn(1));
}

if (byId("gallery")) {
  gallery = new Gallery(byId("gallery"), data.values);
  byId("kind").addEventListener("change", () => { gallery.kind = byId("kind").value; gallery.count = 24; gallery.fill(); });
  byId("more").addEventListener("click", () => { gallery.count += 48; gallery.fill(); });
}

byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  if (view !== null) view.redraw();
});
