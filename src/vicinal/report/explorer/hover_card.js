
/* ---- The card beside the pointer. ---- */
const card = document.getElementById("card");
const cardPicture = make("canvas", { width: 256, height: 256 });
const cardText = make("div");
card.append(cardPicture, cardText);

function oddnessWords(row) {
  const flagged = column.flagged[row] ? ", flagged as odd" : "";
  return `Oddness ${short(column.score[row])}, rank ${counted(column.rank[row])} of ${counted(COUNT)}${flagged}`;
}
function showCard(row) {
  if (row === NONE) return;
  card.dataset.row = row;
  cardPicture.getContext("2d").clearRect(0, 0, 256, 256);
  drawThumbnail(cardPicture, row);
  const cluster = column.cluster[row];
  cardText.replaceChildren(
    make("b", {}, labelOf(row) || (cluster >= 0 ? groupName("cluster", cluster) : nameOf(row))),
    make("span", {}, [nameOf(row), labelOf(row) && cluster >= 0 ? groupName("cluster", cluster) : ""].filter(Boolean).join(" · ")),
    make("span", {}, oddnessWords(row)),
    misleads(row, state.map) ? make("span", { className: "warn" }, "Misleads here: the pictures around it are not like it.") : "",
  );
  card.hidden = false;
  const box = plot.getBoundingClientRect(), [px, py] = place(row), x = box.left + px, y = box.top + py;
  const right = x + 16 + card.offsetWidth < innerWidth;
  card.style.left = `${Math.max(4, right ? x + 16 : x - 16 - card.offsetWidth)}px`;
  card.style.top = `${Math.max(4, Math.min(y - card.offsetHeight / 2, innerHeight - card.offsetHeight - 4))}px`;
}
function hideCard() { card.hidden = true; }
addEventListener("scroll", hideCard, { passive: true, capture: true });
