
/* ---- Above the map: which map, which colours; on it: the tools. ---- */
function segmented(title, options, key) {
  const box = make("div", { className: "segmented", aria: { role: "radiogroup", label: title } });
  const buttons = options.map(([value, name]) => {
    const button = make("button", { type: "button", data: { value }, aria: { role: "radio" } }, name);
    button.onclick = () => change(key === "map" ? { map: value, ranges: null } : { [key]: value, hidden: new Set() });
    return button;
  });
  box.append(...buttons);
  box.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = buttons[(buttons.findIndex((button) => button.dataset.value === state[key]) + step + buttons.length) % buttons.length];
    next.click();
    next.focus();
  };
  const check = () => buttons.forEach((button) => {
    const on = button.dataset.value === state[key];
    button.setAttribute("aria-checked", String(on));
    button.tabIndex = on ? 0 : -1;
  });
  watch([key], check);
  check();
  return make("div", { className: "choice" }, make("span", { className: "dim" }, title), box);
}

function buildBar() {
  const bar = document.getElementById("bar");
  const names = { cluster: "Group", label: "Label", split: "Part", score: "Oddness" };
  if (MAPS().length > 1) bar.append(segmented("Map", MAPS().map((map) => [map, MAP_NAMES[map]]), "map"));
  bar.append(segmented("Colour", colourings().map((by) => [by, names[by]]), "colour"));
  if (finestLevel() > 2) {
    const slider = levelSlider("level");
    const show = () => { slider.hidden = state.colour !== "cluster"; };
    watch(["colour"], show);
    show();
    bar.append(slider);
  }
  const box = make("input", { type: "checkbox", checked: state.marked, id: "marks" });
  box.onchange = () => change({ marked: box.checked });
  const words = make("span");
  const label = make("label", { className: "marks" }, box, words);
  bar.append(label);
  const tell = () => {
    const trust = column[`${state.map}_trust`];
    const bad = trust ? trust.reduce((sum, value) => sum + (value < 0.5), 0) : 0;
    label.hidden = !bad;
    words.textContent = `Hollow: ${plural(bad, "misleading point")}`;
    label.title = `The pictures around ${bad === 1 ? "this point" : "these points"} on the ${MAP_NAMES[state.map]} map are not like them. Their nearest pictures, in the list, are right all the same.`;
  };
  watch(["map"], tell);
  tell();
}

const ICONS = {
  pan: '<path d="M8 1v14M1 8h14M8 1 6 3M8 1l2 2M8 15l-2-2M8 15l2-2M1 8l2-2M1 8l2 2M15 8l-2-2M15 8l-2 2"/>',
  lasso: '<ellipse cx="8" cy="6.6" rx="6" ry="4.1" stroke-dasharray="2.2 1.7"/><path d="M5 10.5c-.8 1.2-.3 2.3.8 2.5 1 .2 1.3 1 .9 2"/>',
  in: '<path d="M8 3v10M3 8h10"/>',
  out: '<path d="M3 8h10"/>',
  other: '<path d="M2 5h9l-2.5-2.5M14 11H5l2.5 2.5"/>',
  whole: '<path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"/>',
};
function buildTools() {
  const tools = document.getElementById("tools");
  const button = (icon, title, press) => {
    const made = make("button", { type: "button", title, data: { tool: icon }, aria: { label: title } });
    made.innerHTML = `<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">${ICONS[icon]}</svg>`; // drawings of ours only
    made.onclick = press;
    tools.append(made);
    return made;
  };
  const modes = { pan: button("pan", "Move the map", () => change({ tool: "pan" })), lasso: button("lasso", "Lasso: draw around pictures to select them", () => change({ tool: "lasso" })) };
  const check = () => Object.entries(modes).forEach(([mode, made]) => made.setAttribute("aria-pressed", String(state.tool === mode)));
  watch(["tool"], check);
  check();
  button("in", "Zoom in (+)", () => zoom(1.5));
  button("out", "Zoom out (−)", () => zoom(1 / 1.5));
  button("whole", "Show the whole map (0)", wholeAgain);
  if (MAPS().length > 1) button("other", "The same place on the other map (M)", otherMap);
}
