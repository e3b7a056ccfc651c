
/* ---- The tab Labels: labels that look wrong. ---- */
function doubtfulView() {
  const rows = doubtful(), told = page.labels;
  return [
    title("Labels that look wrong", rows.length ? pickButton(rows, `Select the ${counted(rows.length)}`) : ""),
    note(`${plural(rows.length, "label is", "labels are")} contradicted by the pictures nearest and by a classifier fitted without them, which agrees with ${percent(told.agreement)} of all labels. Most doubtful first.`),
    ...paged(rows, (row) => entry(row, `Suggested: ${suggestedOf(row)} (${percent(column.confidence[row])}); ${counted(column.agree[row])} of its ${counted(told.neighbours)} nearest are labelled so.`), "entries", "Labels that look wrong"),
  ];
}
