
/* ---- Numbers as text. ---- */
const counted = (number) => number.toLocaleString("en-US");
const plural = (number, one, many = `${one}s`) => `${counted(number)} ${number === 1 ? one : many}`;
const short = (value) => (Number.isFinite(value) ? Number(value.toPrecision(3)).toString().replace("-", "−") : "–");
const percent = (share) => `${short(100 * share)} %`;
