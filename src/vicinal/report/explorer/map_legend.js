
/* ---- Below the map: what the colours mean. ---- */
/* A button a group, which hides it; for oddness a scale. */
function drawLegend() {
  const legend = document.getElementById("legend");
  legend.className = state.colour;
  if (state.colour === "score") {
    const flagged = page.anomalies?.flagged;
    legend.replaceChildren(
      make("span", {}, "usual"),
      make("i", { className: "ramp", style: `background: linear-gradient(90deg, ${oddness().join(", ")})` }),
      make("span", {}, "odd"),
      flagged === undefined ? "" : make("span", { className: "dim" }, `${plural(flagged, "picture")} flagged at ${percent(page.anomalies.false_alarms)} false alarms`),
    );
    return;
  }
  const by = rowsBy(state.colour);
  const without = COUNT - by.reduce((sum, rows) => sum + (rows?.length ?? 0), 0);
  const items = [...by.keys()].filter((group) => by[group]).map((group) => [group, by[group].length]);
  if (without) items.push([NONE, without]);
  legend.replaceChildren(...items.map(([group, count]) => {
    const button = make("button", { type: "button", title: "Hide or show; double-click for this one alone", data: { group }, aria: { pressed: String(!state.hidden.has(group)) } });
    button.innerHTML = mark({ colour: groupColour(group), symbol: groupSymbol(group) });
    button.append(make("span", {}, groupName(state.colour, group)), make("small", {}, counted(count)));
    button.onclick = () => {
      const hidden = new Set(state.hidden);
      if (!hidden.delete(group)) hidden.add(group);
      change({ hidden });
      legend.querySelector(`[data-group="${group}"]`)?.focus();
    };
    button.ondblclick = () => {
      const others = items.map(([other]) => other).filter((other) => other !== group);
      change({ hidden: others.every((other) => state.hidden.has(other)) ? new Set() : new Set(others) });
    };
    return button;
  }));
}
