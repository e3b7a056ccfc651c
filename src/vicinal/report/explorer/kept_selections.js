
/* ---- Kept selections: a tag, a note and its pictures. A CSV file holds them, by the pictures' ids. ---- */
let kept = []; // [{ tag, note, rows }, …] in the order in which they were made
const DRAFT = `vicinal notes ${page.data.source}`; // in the browser, until the file is saved

const keptCsv = () => csvOf(kept.flatMap(({ rows }) => [...rows]), [["tag", "note"], ...kept.flatMap(({ tag, note, rows }) => Array.from(rows, () => [tag, note]))]);

/* Adds what a CSV file says; tells how many of its pictures are not here. */
function takeNotes(text) {
  const [header = [], ...lines] = readCsv(text.replace(/^\ufeff/, "")), at = Object.fromEntries(header.map((name, place) => [name, place]));
  if (at.tag === undefined || at.id === undefined) throw new Error("needs columns tag and id, as a saved notes.csv has them");
  const rowOf = new Map(Array.from({ length: COUNT }, (_, row) => [idOf(row), row]));
  let unknown = 0;
  const bySelection = new Map();
  for (const line of lines) {
    const row = rowOf.get(line[at.id]), tag = line[at.tag] ?? "";
    if (row === undefined) { unknown++; continue; }
    const one = bySelection.get(tag) ?? { note: line[at.note] ?? "", rows: [] };
    one.rows.push(row);
    bySelection.set(tag, one);
  }
  for (const [tag, { note, rows }] of bySelection) keep(tag, note, rows);
  return unknown;
}

/* Keeps rows under a tag, beside those that are there; a note takes the place of an earlier one. */
function keep(tag, note, rows) {
  const held = kept.find((one) => one.tag === tag);
  const all = Int32Array.from(new Set([...(held?.rows ?? []), ...rows])).sort();
  kept = held ? kept.map((one) => (one === held ? { tag, note: note || one.note, rows: all } : one)) : [...kept, { tag, note, rows: all }];
}
function keptChanged() {
  try { localStorage.setItem(DRAFT, keptCsv()); } catch { /* no room, or not allowed: the file is what counts */ }
  change({ kept });
}
function beginKept() {
  let draft = null;
  try { draft = localStorage.getItem(DRAFT); } catch { /* as above */ }
  for (const text of [page.notes, draft]) {
    if (!text) continue;
    try { takeNotes(text); } catch (error) { say(`notes.csv: ${error.message}`); }
  }
  state.kept = kept;
}
const tagsOf = (row) => kept.filter(({ rows }) => rows.includes(row)).map(({ tag }) => tag).join(", ");

/* The form below a selection that keeps it. */
function keepForm() {
  const tag = make("input", { id: "tag", required: true, maxLength: 80, placeholder: "tag, such as: blurred", autocomplete: "off", aria: { label: "Tag of this selection" } });
  const words = make("input", { id: "note", maxLength: 2000, placeholder: "note (if any)", autocomplete: "off", aria: { label: "Note on this selection" } });
  const form = make("form", { className: "keep" }, tag, words, make("button", { className: "action" }, "Keep"));
  form.onsubmit = (event) => {
    event.preventDefault();
    if (!tag.value.trim()) return;
    keep(tag.value.trim(), words.value.trim(), state.picked);
    say(`kept as ${tag.value.trim()}`);
    keptChanged();
  };
  return form;
}

/* Each kept selection, to be shown again, joined with the one shown, or taken out of it. */
function keptSection({ tag, note: words, rows }) {
  const now = new Set(state.picked ?? []);
  const combine = state.picked ? [
    action("Add", () => pick([...new Set([...now, ...rows])].sort((a, b) => a - b))),
    action("Take out", () => pick([...now].filter((row) => !rows.includes(row)))),
    action("Both", () => pick([...now].filter((row) => rows.includes(row)))),
  ] : [];
  const drop = action("Delete", () => { kept = kept.filter((one) => one.tag !== tag); keptChanged(); });
  return make("section", { className: "group kept", data: { tag } },
    make("h3", {}, make("span", {}, tag), make("small", {}, plural(rows.length, "picture"))), words ? make("p", {}, words) : "",
    make("div", { className: "actions" }, action("Show", () => pick(rows)), ...combine, drop));
}
function keptList() {
  const file = make("input", { type: "file", accept: ".csv,text/csv", hidden: true, id: "notes-file" });
  file.onchange = async () => {
    try {
      const unknown = takeNotes(await file.files[0].text());
      say(unknown ? `${plural(unknown, "picture")} of the file ${unknown === 1 ? "is" : "are"} not in this set` : "opened");
    } catch (error) { say(`${file.files[0].name}: ${error.message}`); }
    keptChanged();
  };
  const save = kept.length ? action("Save notes.csv", () => download(keptCsv(), "notes.csv")) : "";
  return [
    title("Kept selections", save, action("Open notes.csv", () => file.click()), file),
    note(kept.length ? "Saved as a file, they can be opened on any page of these pictures, or lie in the run folder as notes.csv." : "None yet. Select pictures, give them a tag and a note, and keep them; there can be several."),
    ...kept.map(keptSection),
  ];
}
