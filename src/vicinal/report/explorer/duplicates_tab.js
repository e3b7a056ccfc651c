
/* ---- The tab Duplicates: groups of pictures that are nearly the same. ---- */
function duplicatesView() {
  const groups = rowsBy("group");
  if (!groups.length) return [title("Duplicates"), note("No two of these pictures are nearly the same.")];
  const span = (group) => {
    const [least, most] = column.group_spans.subarray(2 * group, 2 * group + 2);
    return Number.isFinite(least) ? `distance ${least === most ? short(least) : `${short(least)} to ${short(most)}`}` : "";
  };
  const numbers = [...groups.keys()].filter((group) => groups[group]);
  const typical = page.duplicates?.typical;
  const extra = numbers.flatMap((group) => groups[group].slice(1));
  return [
    title("Duplicates", pickButton(extra, "Select all but one of each")),
    note(`${plural(numbers.length, "group")} of pictures that are nearly the same${page.duplicates?.warning ? `; ${page.duplicates.warning}` : ""}${Number.isFinite(typical) ? ` (two nearest pictures are usually ${short(typical)} apart)` : ""}.`),
    ...paged(numbers, (group) => make("section", { className: "group", data: { group } },
      make("h3", {}, plural(groups[group].length, "picture"), make("small", {}, span(group))), ...tiles(groups[group], `Duplicate group ${group + 1}`, 56)), "groups", "Duplicate groups"),
  ];
}
