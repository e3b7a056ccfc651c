"use strict";
// Ten colours that stay apart under the three kinds of colour blindness (least distance 0.09 in OKLab).
const COLOURS = ["#1f8cf0", "#98161e", "#2b8a24", "#cf45b8", "#b8c020", "#2b3fd0", "#d48a90", "#7a1f93", "#57c8f2", "#656370"];
const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross"];
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/* A legend's mark, of colours and shapes of ours only. */
function mark(item) {
  const shape = item.line
    ? `<path d="M0 6H18" stroke="${item.colour}" stroke-width="2.5"${item.dash ? ' stroke-dasharray="4 3"' : ""}/>`
    : { circle: `<circle cx="6" cy="6" r="5" fill="${item.colour}"/>`, diamond: `<path d="M6 0L12 6L6 12L0 6Z" fill="${item.colour}"/>`, square: `<path d="M1 1H11V11H1Z" fill="${item.colour}"/>`, "triangle-up": `<path d="M6 1L12 11H0Z" fill="${item.colour}"/>`, cross: `<path d="M4 0H8V4H12V8H8V12H4V8H0V4H4Z" fill="${item.colour}"/>`, "circle-open": `<circle cx="6" cy="6" r="4" fill="none" stroke="${item.colour}" stroke-width="2"/>` }[item.symbol];
  return `<svg width="${item.line ? 18 : 12}" height="12" aria-hidden="true">${shape}</svg>`;
}
