
/* ---- Every chart: its layout and colours, drawn when the page has time, as wide as there is room. ---- */
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
