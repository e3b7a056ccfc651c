
/* ---- The overview: what is in here, and whether the representation can be relied on. ---- */
const VERDICTS = { good: "Good", look: "Worth a look", bad: "Bad" };
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const verdict = (kind) => make("span", { className: `verdict ${VERDICTS[kind] ? kind : "look"}` }, VERDICTS[kind] ?? "Unknown");

/* Which differences between pictures the encoder ignores, how these were chosen, and how to choose others. */
const inWords = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0]);
function ignoredWords(encoder) {
  const { ignores, counts = [], measured } = encoder ?? {};
  if (!ignores) return "";
  const count = counts.length ? `; ${inWords(counts)} ${counts.length > 1 ? "count" : "counts"}` : "";
  const chosen = measured ? ", as measured on these pictures" : "";
  return `Differences in ${ignores.length ? inWords(ignores) : "nothing"} are ignored${count}${chosen}; choose others with --ignore.`;
}

const share = (value) => `${(100 * value).toFixed(1)} %`;
function facts() {
  const { data, encoder, duplicates, anomalies } = page;
  const kept = encoder?.kept;
  const trained = kept ? (kept.kept === "after"
    ? `trained on here from ${kept.start}, ${plural(encoder.epochs, "epoch")}; kept, because it finds a picture's other view more often: ${share(kept.after)}, before ${share(kept.before)}`
    : `${kept.start} as it was: ${plural(encoder.epochs, "epoch")} of training on here found own views no better, ${share(kept.after)} after ${share(kept.before)}`)
    : encoder?.epochs ? `trained here, ${plural(encoder.epochs, "epoch")}` : String(encoder?.source ?? "");
  const known = [
    ["Pictures", counted(COUNT), data.skipped ? `${counted(data.skipped)} could not be read: skipped.csv` : ""],
    ["Labels", hasLabels() ? counted(rowsBy("label").filter(Boolean).length) : "none", hasLabels() && data.labelled < COUNT ? plural(data.labelled, "picture has one", "pictures have one") : ""],
    ["Groups", hasClusters() ? counted(rowsBy("cluster").filter(Boolean).length) : "none", "", "clusters"],
    ["Odd", counted(anomalies?.flagged ?? 0), "", "odd"],
    ["Duplicate groups", counted(duplicates?.groups ?? 0), "", "duplicates"],
    ...(page.labels ? [["Labels that look wrong", counted(doubtful().length), "", "labels"]] : []),
    ["Encoder", encoder?.recipe ?? "given", trained],
  ];
  return make("dl", { className: "facts" }, ...known.map(([name, value, words, tab]) => {
    const shown = tab ? make("button", { type: "button", className: "link", onclick: () => change({ tab }) }, value) : value;
    return make("div", {}, make("dt", {}, name), make("dd", {}, shown, words ? make("small", {}, words) : ""));
  }));
}

function healthCard() {
  const { health } = page;
  if (!health?.figures) return [];
  return [
    make("div", { className: "title" }, make("h2", {}, "Health"), verdict(health.verdict)),
    make("p", {}, String(health.summary ?? "")),
    make("ul", { className: "health" }, ...health.figures.map((figure) => make("li", {},
      make("div", {}, make("b", {}, capital(String(figure.name))), verdict(figure.verdict)),
      make("span", { className: "shown" }, String(figure.shown)), make("p", {}, String(figure.words))))),
  ];
}

function help() {
  const told = page.maps?.[state.map]?.trustworthiness;
  const keys = [["/", "search"], ["← ↑ ↓ →", "next picture, on the map and in lists"], ["Enter", "show it"], ["+ − 0", "zoom in, zoom out, whole map"], ["M", "same place on the other map"], ["Esc", "back: search, selection, picture"]];
  return [
    make("h2", {}, "How to read the map"),
    make("p", {}, "Each point is a picture; pictures that the encoder finds alike lie together. Nearest and farthest pictures are found in the whole representation, never on the map."
      + (Number.isFinite(told) ? ` The trustworthiness of this ${MAP_NAMES[state.map]} map is ${short(told)}, where 1 means that all neighbours on it are true ones.` : "")
      + " A hollow point misleads: the pictures around it on this map are not like it."),
    make("dl", { className: "keys" }, ...keys.map(([key, words]) => make("div", {}, make("dt", {}, ...key.split(" ").map((one) => make("kbd", {}, one))), make("dd", {}, words)))),
  ];
}
function overviewView() { return [make("h2", { className: "unseen" }, "Overview"), facts(), make("p", {}, ignoredWords(page.encoder)), ...healthCard(), ...help()]; }
