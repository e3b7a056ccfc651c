
/* ---- Legends. ---- */
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
