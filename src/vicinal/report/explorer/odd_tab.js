
/* ---- The tab Odd: all pictures, the oddest first. ---- */
function oddView() {
  const rows = Array.from({ length: COUNT }, (_, row) => row).sort((a, b) => column.rank[a] - column.rank[b]);
  const flagged = page.anomalies?.flagged ?? 0;
  return [
    title("Odd pictures", flagged ? pickButton(rows.slice(0, flagged), `Select the ${counted(flagged)} flagged`) : ""),
    note(flagged
      ? `${plural(flagged, "picture is", "pictures are")} flagged; of usual pictures ${percent(page.anomalies.false_alarms)} would be. Oddest first.`
      : "No picture is odd enough to be flagged. Oddest first."),
    ...paged(rows, (row) => entry(row, reasonOf(row), counted(column.rank[row])), "entries", "Odd pictures, oddest first"),
  ];
}
