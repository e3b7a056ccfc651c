(() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const MISSING = 65535;
  const GL_FROM = 3000; // below so many points a map is drawn as SVG, sharper in print
  const STACK_BELOW = 600; // pixels of width
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const webgl = (() => { try { return !!document.createElement("canvas").getContext("webgl"); } catch { return false; } })();
  const font = getComputedStyle(document.body).fontFamily;
  const hidden = {}; // chart id -> set of legend keys switched off
  const columns = new Map();

  function decode(text, Type) {
    return new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  }
  function points(name) {
    if (!columns.has(name)) {
      const packed = page.maps[name];
      columns.set(name, {
        row: decode(packed.row, Uint32Array), x: decode(packed.x, Float32Array), y: decode(packed.y, Float32Array),
        label: packed.label && decode(packed.label, Uint16Array), cluster: packed.cluster && decode(packed.cluster, Uint16Array),
      });
    }
    return columns.get(name);
  }
  const places = Object.fromEntries(Object.entries(page.pictures).map(([name, text]) => [name, decode(text, Uint16Array)]));
  const sheets = document.querySelectorAll("#sheets img");
  const colour = (group) => (group === MISSING ? "#8a929c" : COLOURS[group % COLOURS.length]);
  const symbol = (group) => (group === MISSING ? "circle-open" : SYMBOLS[Math.floor(group / COLOURS.length) % SYMBOLS.length]);
  const className = (group) => (group === MISSING ? "no class" : page.classes[group] ?? String(group));
  const groupName = (by, group) => (by === "cluster" ? (group === MISSING ? "no cluster" : `cluster ${group}`) : className(group));

  /* Groups of a map panel, in order: [number, …]. */
  function groupsOf(panel) {
    const column = points(panel.map)[panel.by];
    return column ? [...new Set(column)].sort((a, b) => a - b) : [0];
  }
  function mapTraces(spec) {
    const traces = [];
    spec.panels.forEach((panel, number) => {
      const axis = number ? String(number + 1) : "";
      const at = points(panel.map);
      const column = at[panel.by];
      const many = at.x.length > GL_FROM;
      for (const group of groupsOf(panel)) {
        const chosen = [];
        for (let i = 0; i < at.x.length; i++) if (!column || column[i] === group) chosen.push(i);
        traces.push({
          type: many && webgl ? "scattergl" : "scatter", mode: "markers", hoverinfo: "none",
          xaxis: "x" + axis, yaxis: "y" + axis, key: `${panel.by} ${group}`,
          name: column ? escaped(groupName(panel.by, group)) : "images",
          x: Float32Array.from(chosen, (i) => at.x[i]), y: Float32Array.from(chosen, (i) => at.y[i]),
          // What the hover card shows: row of the image, class, cluster.
          customdata: chosen.map((i) => [at.row[i], at.label ? at.label[i] : MISSING, at.cluster ? at.cluster[i] : MISSING]),
          marker: { color: colour(group), symbol: symbol(group), size: many ? 3.5 : at.x.length > 800 ? 5 : 6.5, opacity: many ? 0.75 : 0.85 },
        });
      }
      if (panel.centroids && panel.centroids.length) traces.push({
        type: many && webgl ? "scattergl" : "scatter", // WebGL's points would hide SVG's
        mode: "markers", key: "centroids", name: "centroids", xaxis: "x" + axis, yaxis: "y" + axis,
        x: panel.centroids.map((c) => c && c[0]), y: panel.centroids.map((c) => c && c[1]), // null: none of its images is on the map
        text: panel.centroids.map((_, i) => `centroid of cluster ${i}`), hovertemplate: "%{text}<extra></extra>",
        marker: { symbol: "x", size: 14, color: "#111", line: { color: "#fff", width: 2 } }, // in their clusters' colours they drown
      });
    });
    return traces;
  }
  function extent(values) {
    let low = Infinity, high = -Infinity;
    for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
    const room = 0.05 * (high - low || 1);
    return [low - room, high + room];
  }
  function mapLayout(spec, width) {
    const count = spec.panels.length, between = 36, title = 30, gap = 26;
    const across = width < STACK_BELOW || count === 1 ? 1 : count > 4 ? 3 : 2;
    const rows = Math.ceil(count / across), room = (width - (across - 1) * between) / across;
    const side = Math.floor(Math.min(room, 520));
    const height = rows * (side + title) + (rows - 1) * gap + 2;
    const layout = { width: count === 1 ? Math.min(width, 560) : width, height, margin: { l: 1, r: 1, t: 0, b: 2 }, annotations: [], hovermode: "closest", hoverdistance: 12 };
    spec.panels.forEach((panel, number) => {
      const axis = number ? String(number + 1) : "";
      const at = points(panel.map);
      const left = ((number % across) * (room + between)) / width;
      const right = left + room / width;
      const inner = height - 2;
      const top = 1 - (Math.floor(number / across) * (side + title + gap) + title) / inner;
      const bottom = top - side / inner;
      const common = { showticklabels: false, ticks: "", zeroline: false, showgrid: false, showline: true, mirror: true, linecolor: "#c3cad2", linewidth: 1 };
      layout["xaxis" + axis] = { ...common, domain: [left, Math.min(right, 1)], anchor: "y" + axis, range: extent(at.x) };
      layout["yaxis" + axis] = { ...common, domain: [Math.max(bottom, 0), top], anchor: "x" + axis, range: extent(at.y), scaleanchor: "x" + axis };
      layout.annotations.push({ text: `<b>${escaped(panel.title)}</b>`, borderpad: 0, showarrow: false, xref: "paper", yref: "paper", x: left, xanchor: "left", y: top, yanchor: "bottom", font: { size: 14 } });
    });
    return layout;
  }
  function plainLayout(spec, width) {
    const side = Math.min(width, 470);
    const layout = structuredClone(spec.layout);
    const size = spec.square ? { width: side, height: side } : { width, height: spec.height };
    const title = layout.title ? { text: `<b>${layout.title.text}</b>`, x: 0, xref: "container", xanchor: "left", y: 1, yref: "container", yanchor: "top", pad: { t: 8 }, font: { size: 14 } } : undefined;
    for (const name of ["xaxis", "yaxis"]) {
      layout[name] = { automargin: true, zeroline: false, fixedrange: coarse, tickfont: { size: 12 }, ...layout[name] };
      if (layout[name].title) layout[name].title = { ...layout[name].title, font: { size: 12.5 }, standoff: 8 };
    }
    return { ...layout, ...size, title, margin: { l: 44, r: 12, t: title ? 34 : 10, b: 40 }, bargap: 0.28, bargroupgap: 0.08 };
  }
  function heatScale(light) {
    return light ? [[0, "#f4f7fa"], [0.25, "#c3dcf3"], [1, "#0f5596"]] : [[0, "#1c2024"], [0.25, "#1d4468"], [1, "#8cc6fb"]];
  }
  function layoutOf(spec, width) {
    const own = spec.kind === "maps" ? mapLayout(spec, width) : plainLayout(spec, width);
    return {
      ...own, autosize: false, showlegend: false, dragmode: coarse ? false : "zoom",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: font, size: 12.5, color: "#535b66" },
      hoverlabel: { bgcolor: "#ffffff", bordercolor: "#9aa3ae", font: { family: font, size: 12.5, color: "#16191d" } },
    };
  }
  function tracesOf(spec) {
    if (spec.kind === "maps") return mapTraces(spec);
    return spec.data.map((trace) => ({ ...trace, key: trace.name, ...(spec.kind === "heat" ? { colorscale: heatScale(!dark.matches) } : {}) }));
  }

  /* Drawing */
  function draw(el) {
    const spec = page.charts[el.id];
    if (el.dataset.drawn || !el.clientWidth) return;
    el.dataset.drawn = el.clientWidth;
    const traces = tracesOf(spec).map(({ key, ...trace }) => ({ ...trace, meta: key, visible: !hidden[el.id]?.has(key) }));
    Plotly.newPlot(el, traces, layoutOf(spec, el.clientWidth), {
      displaylogo: false, responsive: false, showSendToCloud: false, showEditInChartStudio: false, doubleClick: "reset",
      modeBarButtonsToRemove: ["sendDataToCloud", "select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "hoverClosestCartesian", "hoverCompareCartesian", "toggleSpikelines"],
      toImageButtonOptions: { filename: `vicinal-${el.id}`, scale: 2 },
    });
    scalable(el);
    el.on("plotly_afterplot", () => scalable(el));
    if (spec.kind === "maps") watchPoints(el);
    sizes.observe(el);
  }
  /* In print a chart is scaled to the paper by CSS alone, which needs a viewBox. */
  function scalable(el) {
    const { width, height } = el._fullLayout || {};
    if (!width) return;
    el.style.setProperty("--aspect", `${width} / ${height}`);
    el.querySelectorAll(".main-svg").forEach((svg) => svg.setAttribute("viewBox", `0 0 ${width} ${height}`));
  }
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const width = target.clientWidth;
      if (!width || Math.abs(width - target.dataset.drawn) < 2 || matchMedia("print").matches) continue;
      target.dataset.drawn = width;
      requestAnimationFrame(() => Plotly.relayout(target, layoutOf(page.charts[target.id], width)));
    }
  });
  const drawAll = () => document.querySelectorAll(".chart").forEach(draw);
  const later = window.requestIdleCallback || ((f) => setTimeout(f, 1));
  function drawNext() {
    const next = [...document.querySelectorAll(".chart:not([data-drawn])")].find((el) => el.clientWidth);
    if (!next) return;
    draw(next);
    later(drawNext, { timeout: 200 });
  }

  /* Legends: a button a class; it switches the class in every chart that the legend names. */
  function legendItems(spec) {
    if (spec.kind !== "maps") return [["", spec.data.filter((t) => t.showlegend !== false).map((t) => ({ key: t.name, name: t.name, colour: (t.line || t.marker).color, line: !!t.line, dash: (t.line?.dash ?? "solid") !== "solid", symbol: "square" }))]];
    return spec.legends.map((by) => {
      const groups = new Set(spec.panels.filter((panel) => panel.by === by).flatMap(groupsOf));
      const items = [...groups].sort((a, b) => a - b).map((group) => ({ key: `${by} ${group}`, name: by === "cluster" ? (group === MISSING ? "none" : group) : className(group), colour: colour(group), symbol: symbol(group) }));
      return [spec.legends.length > 1 || by === "cluster" ? { cluster: "Clusters", label: "Classes" }[by] : "", items];
    });
  }
  function buildLegend(legend) {
    const ids = legend.dataset.charts.split(" ").filter((id) => page.charts[id]);
    if (!ids.length) return;
    const off = new Set();
    ids.forEach((id) => { hidden[id] = off; });
    const buttons = new Map();
    const apply = () => {
      buttons.forEach((button, key) => button.setAttribute("aria-pressed", String(!off.has(key))));
      for (const el of ids.map((id) => document.getElementById(id))) {
        if (el.dataset.drawn) Plotly.restyle(el, { visible: el.data.map((trace) => !off.has(trace.meta)) });
      }
    };
    for (const [title, items] of legendItems(page.charts[ids[0]])) {
      const box = document.createElement("div");
      box.className = "legend";
      if (title) box.append(Object.assign(document.createElement("strong"), { textContent: title }));
      for (const item of items) {
        const button = document.createElement("button");
        button.type = "button";
        button.setAttribute("aria-pressed", "true");
        button.innerHTML = mark(item); // colours and shapes of ours only
        button.append(String(item.name));
        button.onclick = () => { off.has(item.key) ? off.delete(item.key) : off.add(item.key); apply(); };
        button.ondblclick = () => {
          const others = items.filter((other) => other !== item).map((other) => other.key);
          const alone = others.every((key) => off.has(key));
          off.delete(item.key);
          others.forEach((key) => (alone ? off.delete(key) : off.add(key)));
          apply();
        };
        buttons.set(item.key, button);
        box.append(button);
      }
      legend.append(box);
    }
  }

  /* The hover card: the image itself beside its point. */
  const card = document.getElementById("card");
  function watchPoints(el) {
    const show = ({ points: [point] }) => {
      if (!Array.isArray(point.customdata)) return;
      const [row, label, cluster] = point.customdata;
      const canvas = card.querySelector("canvas");
      const sheet = sheets[places.sheet[row]];
      canvas.hidden = !sheet;
      if (sheet) {
        const context = canvas.getContext("2d"), size = places.size[row];
        context.imageSmoothingEnabled = size >= 64;
        context.drawImage(sheet, places.x[row], places.y[row], size, size, 0, 0, canvas.width, canvas.height);
      }
      const lines = [label !== MISSING ? className(label) : "", cluster !== MISSING ? `cluster ${cluster}` : "", page.ids[row]];
      card.querySelector("p").textContent = lines.filter(Boolean).join("\n");
      card.hidden = false;
      const box = el.getBoundingClientRect();
      const x = box.left + point.xaxis._offset + point.xaxis.l2p(point.x), y = box.top + point.yaxis._offset + point.yaxis.l2p(point.y);
      const fits = x + 14 + card.offsetWidth < innerWidth;
      card.style.left = `${Math.max(4, fits ? x + 14 : x - 14 - card.offsetWidth)}px`;
      card.style.top = `${Math.min(Math.max(4, y - card.offsetHeight / 2), innerHeight - card.offsetHeight - 4)}px`;
    };
    el.on("plotly_hover", show);
    el.on("plotly_click", show);
    el.on("plotly_unhover", () => { card.hidden = true; });
  }
  addEventListener("scroll", () => { card.hidden = true; }, { passive: true });

  /* Light and dark, print, the contents */
  function shadeHeat(light) {
    for (const el of document.querySelectorAll(".chart[data-drawn]")) {
      if (page.charts[el.id].kind === "heat") Plotly.restyle(el, { colorscale: [heatScale(light)] });
    }
  }
  dark.addEventListener("change", () => shadeHeat(!dark.matches));
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((el) => { el.open = true; });
    drawAll();
    shadeHeat(true);
  });
  addEventListener("afterprint", () => { opened.forEach((el) => { el.open = false; }); shadeHeat(!dark.matches); });
  document.querySelectorAll("details").forEach((el) => el.addEventListener("toggle", drawNext));
  const links = new Map([...document.querySelectorAll("nav li a")].map((a) => [a.hash.slice(1), a]));
  const spy = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) links.get(target.id)?.classList.toggle("here", isIntersecting);
  }, { rootMargin: "-25% 0px -70% 0px" });
  document.querySelectorAll("section[id]").forEach((el) => spy.observe(el));

  document.querySelectorAll(".legend[data-charts]").forEach(buildLegend);
  drawNext();
})();
