// The network on a canvas: only what is in view is drawn, so thousands of boxes move smoothly.
class NetworkView {
  constructor(canvas, network, regions, colours, box) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.net = network;
    this.regions = regions;
    this.colours = colours;
    [this.width, this.height] = box;
    this.count = network.x.length;
    this.scale = 1; this.left = 0; this.top = 0;
    this.chosen = -1; this.hits = new Set(); this.off = new Set(); this.mode = "precision";
    this.onchoose = () => {};
    this.readers = Array.from({ length: this.count }, () => []);
    this.sources = Array.from({ length: this.count }, () => []);
    for (const edge of network.edges) { this.readers[edge[0]].push(edge[1]); this.sources[edge[1]].push(edge[0]); }
    this.byHeight = [...Array(this.count).keys()].sort((a, b) => network.y[a] - network.y[b]);
    this.listen();
  }

  get style() { return getComputedStyle(document.documentElement); }

  region(i) { const row = this.net.region[i]; return row < 0 ? null : this.regions[row]; }

  precision(i) { const region = this.region(i); return region === null ? "" : region.precision; }

  // A colour, or null for what has none: drawn as an empty box.
  colour(i) {
    const region = this.region(i);
    if (region === null) return null;
    if (this.mode === "precision") return this.colours[region.precision];
    if (this.most === undefined) {
      const total = (name) => Math.max(1e-30, ...this.regions.map((each) => each[name] || 0));
      this.most = { time: total("ntime"), noise: total("nnoise") };
    }
    const value = this.mode === "time" ? region.ntime : region.nnoise;
    if (!value) return null;
    const share = this.mode === "time" ? Math.sqrt(value / this.most.time) : Math.max(0, 1 + Math.log10(value / this.most.noise) / 4);
    return heat(share);
  }

  fit() {
    const xs = this.net.x, ys = this.net.y;
    const reduce = (list, better) => list.reduce((a, b) => (better(b, a) ? b : a));
    const left = reduce(xs, (a, b) => a < b) - this.width, right = reduce(xs, (a, b) => a > b) + this.width;
    const top = reduce(ys, (a, b) => a < b) - this.height, bottom = reduce(ys, (a, b) => a > b) + this.height;
    this.scale = Math.min(1.2, this.canvas.clientWidth / (right - left), this.canvas.clientHeight / (bottom - top));
    this.left = (left + right) / 2 - this.canvas.clientWidth / 2 / this.scale;
    this.top = (top + bottom) / 2 - this.canvas.clientHeight / 2 / this.scale;
    this.redraw();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const next = Math.min(4, Math.max(0.002, this.scale * factor));
    this.left += x / this.scale - x / next;
    this.top += y / this.scale - y / next;
    this.scale = next;
    this.redraw();
  }

  centre(i) {
    this.scale = Math.max(this.scale, 0.7);
    this.left = this.net.x[i] - this.canvas.clientWidth / 2 / this.scale;
    this.top = this.net.y[i] - this.canvas.clientHeight / 2 / this.scale;
    this.redraw();
  }

  choose(i, move = false) {
    this.chosen = i;
    if (move) this.centre(i);
    this.redraw();
    this.onchoose(i);
  }

  chooseRegion(row) {
    const found = this.net.region.indexOf(row);
    if (found >= 0) this.choose(found, true);
  }

  // Every word has to be somewhere in a box's texts.
  search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.hits = new Set();
    if (words.length) {
      for (let i = 0; i < this.count; i++) {
        const region = this.region(i);
        const about = [this.net.label[i], this.net.name[i], this.net.module[i], this.net.note[i], region ? `${region.precision} ${region.reason || ""}` : ""].join(" ").toLowerCase();
        if (words.every((word) => about.includes(word))) this.hits.add(i);
      }
    }
    this.redraw();
    return [...this.hits].sort((a, b) => a - b);
  }

  // Pixels of a box's centre on the canvas.
  pixels(i) { return [(this.net.x[i] - this.left) * this.scale, (this.net.y[i] - this.top) * this.scale]; }

  at(x, y) {
    const wx = this.left + x / this.scale, wy = this.top + y / this.scale;
    const room = Math.max(0, 4 / this.scale - this.height / 2);
    return this.within(wy - this.height / 2 - room, wy + this.height / 2 + room).find(
      (i) => Math.abs(this.net.x[i] - wx) <= this.width / 2 + room && Math.abs(this.net.y[i] - wy) <= this.height / 2 + room) ?? -1;
  }

  // Boxes whose centres are between two heights, by two binary searches.
  within(top, bottom) {
    const first = (limit) => {
      let low = 0, high = this.count;
      while (low < high) { const middle = (low + high) >> 1; if (this.net.y[this.byHeight[middle]] < limit) low = middle + 1; else high = middle; }
      return low;
    };
    return this.byHeight.slice(first(top), first(bottom + 1e-6));
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  draw() {
    const ratio = window.devicePixelRatio || 1, canvas = this.canvas, context = this.context;
    const wide = canvas.clientWidth, tall = canvas.clientHeight;
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(tall * ratio)) {
      canvas.width = Math.round(wide * ratio); canvas.height = Math.round(tall * ratio);
    }
    const style = this.style, read = (name) => style.getPropertyValue(name).trim();
    this.theme = { ink: read("--ink"), soft: read("--soft"), edge: read("--edge"), back: read("--back"), mark: read("--mark") };
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, wide, tall);
    context.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, -this.left * this.scale * ratio, -this.top * this.scale * ratio);
    const view = { left: this.left, top: this.top, right: this.left + wide / this.scale, bottom: this.top + tall / this.scale };
    this.drawEdges(view);
    this.drawn = 0;
    for (const i of this.within(view.top - this.height, view.bottom + this.height)) {
      if (Math.abs(this.net.x[i] - (view.left + view.right) / 2) > (view.right - view.left + this.width) / 2) continue;
      this.drawBox(i);
      this.drawn++;
    }
  }

  drawEdges(view) {
    const context = this.context, { x, y } = this.net;
    context.lineWidth = Math.max(1, 0.7 / this.scale);
    const strong = [];
    context.strokeStyle = this.theme.edge;
    context.beginPath();
    for (const edge of this.net.edges) {
      const [a, b] = edge;
      let left = Math.min(x[a], x[b]), right = Math.max(x[a], x[b]);
      for (let k = 2; k < edge.length; k += 2) { left = Math.min(left, edge[k]); right = Math.max(right, edge[k]); }
      if (right < view.left || left > view.right || Math.max(y[a], y[b]) < view.top || Math.min(y[a], y[b]) > view.bottom) continue;
      if (a === this.chosen || b === this.chosen) strong.push(edge); else this.trace(edge);
    }
    context.stroke();
    context.strokeStyle = this.theme.mark;
    context.lineWidth *= 2;
    context.beginPath();
    strong.forEach((edge) => this.trace(edge));
    context.stroke();
  }

  trace(edge) {
    const context = this.context, { x, y } = this.net, [a, b] = edge;
    const points = [[x[a], y[a] + this.height / 2]];
    for (let k = 2; k < edge.length; k += 2) points.push([edge[k], edge[k + 1]]);
    points.push([x[b], y[b] - this.height / 2]);
    context.moveTo(...points[0]);
    for (let k = 1; k < points.length; k++) {
      const [px, py] = points[k - 1], [qx, qy] = points[k];
      if (px === qx || this.scale < 0.15) context.lineTo(qx, qy);
      else if (qy > py) context.bezierCurveTo(px, (py + qy) / 2, qx, (py + qy) / 2, qx, qy);
      else context.bezierCurveTo(px, py + 60, qx, qy - 60, qx, qy);  // to the next column
    }
  }

  drawBox(i) {
    const context = this.context, w = this.width, h = this.height, left = this.net.x[i] - w / 2, top = this.net.y[i] - h / 2;
    const colour = this.colour(i), faded = (this.hits.size && !this.hits.has(i)) || this.off.has(this.precision(i));
    context.globalAlpha = faded ? 0.18 : 1;
    context.beginPath();
    if (this.scale > 0.2) context.roundRect(left, top, w, h, 7); else context.rect(left, top, w, h);
    context.fillStyle = colour ?? this.theme.back;
    context.fill();
    if (colour === null) {
      context.strokeStyle = this.theme.soft; context.lineWidth = Math.max(1, 0.5 / this.scale);
      context.setLineDash(this.net.note[i] ? [5, 4] : []); context.stroke(); context.setLineDash([]);
    }
    if (i === this.chosen || this.hits.has(i)) {
      context.strokeStyle = i === this.chosen ? this.theme.mark : this.theme.ink;
      context.lineWidth = Math.max(3, 2 / this.scale); context.stroke();
    }
    if (this.scale > 0.38) {
      context.fillStyle = colour === null ? this.theme.ink : "#fff";
      context.textAlign = "center"; context.textBaseline = "middle";
      context.font = "600 13px system-ui, sans-serif";
      context.fillText(this.cut(this.net.label[i], 20), this.net.x[i], top + 15);
      context.font = "11px system-ui, sans-serif";
      context.fillText(this.tail(this.net.module[i] || this.net.name[i], 25), this.net.x[i], top + 31);
    }
    context.globalAlpha = 1;
  }

  cut(text, most) { const all = [...text]; return all.length <= most ? text : all.slice(0, most - 1).join("") + "…"; }

  tail(text, most) { const all = [...text]; return all.length <= most ? text : "…" + all.slice(1 - most).join(""); }

  listen() {
    const canvas = this.canvas;
    let from = null, moved = false;
    canvas.addEventListener("pointerdown", (event) => { from = [event.offsetX, event.offsetY]; moved = false; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const dx = event.offsetX - from[0], dy = event.offsetY - from[1];
      if (!moved && Math.hypot(dx, dy) < 4) return;
      moved = true; from = [event.offsetX, event.offsetY];
      this.left -= dx / this.scale; this.top -= dy / this.scale;
      this.redraw();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (from !== null && !moved) this.choose(this.at(event.offsetX, event.offsetY));
      from = null;
    });
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY); }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  key(event) {
    const step = { ArrowDown: this.readers, ArrowUp: this.sources }[event.key];
    if (event.key === "+" || event.key === "-") this.zoom(event.key === "+" ? 1.3 : 1 / 1.3);
    else if (step !== undefined) {
      const next = this.chosen < 0 ? 0 : step[this.chosen][0];
      if (next !== undefined) this.choose(next, true);
    } else return;
    event.preventDefault();
  }
}
