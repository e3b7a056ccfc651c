
/* ---- Maps as Plotly has them: a panel a map, a trace a group. ---- */
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
