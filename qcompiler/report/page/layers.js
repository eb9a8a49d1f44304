// The table of layers: filtered, sorted by any column, a page at a time; and the gallery of values.
const COLUMNS = [
  ["region", "name"], ["ops", "ops"], ["precision", "precision"], ["time", "time", "ntime"], ["float", "float", "nfloat"],
  ["loss alone", "loss", "nloss"], ["own noise", "noise", "nnoise"], ["weights", "size", "nsize"], ["why", "reason"],
];
const PAGE = 100;

class LayerTable {
  constructor(table, regions, onopen) {
    this.table = table; this.regions = regions; this.onopen = onopen;
    this.columns = COLUMNS.filter(([, name]) => regions.some((row) => row[name]));
    this.words = []; this.sorted = null; this.falling = false; this.page = 0;
    const head = element("tr");
    this.columns.forEach((column, k) => {
      const by = element("button", { type: "button", title: `sort by ${column[0]}` }, column[0]);
      head.append(element("th", { class: column[2] ? "n" : "", scope: "col", onclick: () => this.sort(k) }, by));
    });
    table.tHead.append(head);
    this.fill();
  }

  sort(k) {
    if (this.sorted === k && this.falling !== Boolean(this.columns[k][2])) { this.sorted = null; this.falling = false; }
    else if (this.sorted === k) this.falling = !this.falling;
    else { this.sorted = k; this.falling = Boolean(this.columns[k][2]); }
    [...this.table.tHead.rows[0].cells].forEach((cell, j) => {
      if (j === this.sorted) cell.setAttribute("aria-sort", this.falling ? "descending" : "ascending"); else cell.removeAttribute("aria-sort");
    });
    this.page = 0;
    this.fill();
  }

  filter(text) { this.words = text.toLowerCase().split(/\s+/).filter(Boolean); this.page = 0; this.fill(); }

  turn(by) { const last = Math.max(0, Math.ceil(this.rows().length / PAGE) - 1); this.page = Math.min(last, Math.max(0, this.page + by)); this.fill(); }

  rows() {
    const about = (row) => this.columns.map(([, name]) => row[name] || "").join(" ").toLowerCase();
    let numbers = [...this.regions.keys()];
    if (this.words.length) numbers = numbers.filter((k) => { const text = about(this.regions[k]); return this.words.every((word) => text.includes(word)); });
    if (this.sorted === null) return numbers;
    const [, shown, number] = this.columns[this.sorted], sign = this.falling ? -1 : 1;
    const value = (k) => this.regions[k][number || shown];
    return numbers.sort((a, b) => {
      const one = value(a), two = value(b);
      if (one === undefined || two === undefined) return (one === undefined) - (two === undefined) || a - b;  // the unknown last
      return sign * (number ? one - two : one.localeCompare(two)) || a - b;
    });
  }

  fill() {
    const all = this.rows(), from = this.page * PAGE, some = all.slice(from, from + PAGE);
    this.told = all.length ? `${from + 1} to ${from + some.length} of ${all.length}` : "none";
    byId("shown").textContent = this.told;
    this.table.tBodies[0].replaceChildren(...some.map((k) => this.row(k)));
  }

  row(k) {
    const region = this.regions[k];
    const cells = this.columns.map(([, name, number]) => {
      const told = name === "name" ? element("button", { type: "button", title: region.key }, region.name) : region[name] || "";
      const cell = element("td", { class: number ? "n" : "" }, told);
      if (name === "precision") cell.prepend(chip(data.colours[region.precision]));
      return cell;
    });
    return element("tr", { class: "link", onclick: () => this.onopen(k) }, ...cells);
  }
}

class Gallery {
  constructor(box, values) { this.box = box; this.values = values; this.kind = ""; this.count = 24; this.fill(); }

  fill() {
    const kept = this.values.filter((each) => !this.kind || each.kind === this.kind);
    kept.sort((a, b) => (b.nnoise ?? -1) - (a.nnoise ?? -1));
    this.box.replaceChildren(...kept.slice(0, this.count).map(valueFigure));
    byId("more").disabled = kept.length <= this.count;
  }
}
