// Answer typed words from the codes in this page. The features and codes of the words are those of
// fasthash; ranking and ties are those of fasthash.topk.
"use strict";

const N_SHOWN = 24;
const MOST_SUGGESTIONS = 3;
const $ = (id) => document.getElementById(id);

// Unpack the header and the arrays that follow it.
async function unpack() {
  const packed = Uint8Array.from(atob($("packed").textContent), (one) => one.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const content = await new Response(stream).arrayBuffer();
  const nHeader = Number(new DataView(content).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 8, nHeader)));
  let at = 8 + nHeader;
  const take = (Kind, n) => {
    const array = new Kind(content, at, n);
    at += array.byteLength;
    return array;
  };
  const nWords = header.vocabulary.length;
  const nBytes = Math.ceil(header.n_bits / 8);
  return {
    ...header,
    offset: take(Float64Array, header.n_bits),
    weights: take(Float32Array, header.anchors.length * header.n_bits),
    scale: take(Float32Array, nWords),
    idf: take(Float32Array, nWords),
    vectors: take(Int8Array, nWords * header.n_features),
    codes: take(Uint8Array, header.names.length * nBytes),
    nBytes,
    number: new Map(header.vocabulary.map((word, i) => [word, i])),
  };
}

// Lower-case words without accents.
function split(text) {
  const lower = text.normalize("NFKD").toLowerCase().replaceAll("ß", "ss").replaceAll("ς", "σ");
  return lower.normalize("NFKD").replace(/[\p{Mn}\p{Me}]/gu, "").match(/[\p{L}\p{N}\p{Mc}_]+/gu) ?? [];
}

// The text with another word in place of a whole word, whatever its case and accents are.
const replaced = (text, word, other) => text.replace(/[\p{L}\p{N}\p{M}_]+/gu, (one) => (split(one).join() === word ? other : one));

// The number of a word, or of its first other form that is known.
function lookUp(data, word) {
  if (data.number.has(word) || word.length < 3) return data.number.get(word);
  for (const [ending, replacement] of data.endings) {
    const stem = word.slice(0, word.length - ending.length);
    const other = stem + replacement;
    if (word.endsWith(ending) && stem.length >= 3 && data.number.has(other)) return data.number.get(other);
  }
  return undefined;
}

// The sum of the vectors of the known words, weighted by rarity, with unit length; or null.
function features(data, text) {
  const counts = new Map();
  for (const word of split(text)) {
    const number = lookUp(data, word);
    if (number !== undefined) counts.set(number, (counts.get(number) ?? 0) + 1);
  }
  if (!counts.size) return null;
  const sum = new Float64Array(data.n_features);
  for (const [word, n] of [...counts].sort(([a], [b]) => a - b)) {
    const weight = (1 + Math.log(n)) * data.idf[word];
    for (let i = 0; i < sum.length; i++) {
      sum[i] += weight * Math.fround(data.vectors[word * sum.length + i] * data.scale[word]);
    }
  }
  const length = Math.sqrt(sum.reduce((total, x) => total + x * x, 0));
  return Float32Array.from(sum, (x) => (length > 0 ? x / length : 0));
}

// Round to half precision, in which the data set stores its features.
function half(x) {
  const unit = 2 ** Math.max(Math.floor(Math.log2(Math.abs(x))) - 10, -24);
  const scaled = x / unit;
  const near = Math.round(scaled);
  return (Math.abs(scaled % 1) === 0.5 && near % 2 !== 0 ? near - 1 : near) * unit;
}

const anchorsOf = (data) => data.anchors.map((row) => features(data, [data.names[row], ...data.keywords[row]].join(" ")).map((x) => (x === 0 ? 0 : half(x))));

// The code of a text: the signs of its projections.
function encode(data, x) {
  const sums = Float64Array.from(data.offset);
  data.anchorFeatures.forEach((anchor, i) => {
    let squared = 0;
    for (let j = 0; j < x.length; j++) squared += (x[j] - anchor[j]) ** 2;
    const near = Math.exp(-squared / (2 * data.width ** 2));
    for (let bit = 0; bit < sums.length; bit++) sums[bit] += near * data.weights[i * sums.length + bit];
  });
  const code = new Uint8Array(data.nBytes);
  sums.forEach((sum, bit) => { if (sum >= 0) code[bit >> 3] |= 128 >> (bit & 7); });
  return code;
}

// Number of bits of a byte that are 1.
const POPCOUNT = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll("0", "").length);

// The rows of the nearest glyphs, equal ones by row, and their distances.
function topk(data, code, k) {
  const found = data.names.map((_, row) => {
    let distance = 0;
    for (let i = 0; i < code.length; i++) distance += POPCOUNT[code[i] ^ data.codes[row * code.length + i]];
    return { row, distance };
  });
  found.sort((a, b) => a.distance - b.distance || a.row - b.row);
  const ties = new Map();
  for (const { distance } of found) ties.set(distance, (ties.get(distance) ?? 0) + 1);
  return found.slice(0, k).map((one) => ({ ...one, ties: ties.get(one.distance) }));
}

// The number of letters to add, remove or change.
function edits(a, b) {
  let last = [...b, ""].map((_, j) => j);
  [...a].forEach((letter, i) => {
    const next = [i + 1];
    [...b].forEach((other, j) => next.push(Math.min(last[j + 1] + 1, next[j] + 1, last[j] + (letter === other ? 0 : 1))));
    last = next;
  });
  return last.at(-1);
}

function suggestions(data, word) {
  const most = word.length > 5 ? 2 : 1;
  const alike = data.vocabulary.filter((one) => Math.abs(one.length - word.length) <= most && one.length > 2);
  const far = alike.map((one) => [edits(one, word), one]).filter(([n]) => n <= most);
  return far.sort(([a], [b]) => a - b).slice(0, MOST_SUGGESTIONS).map(([, one]) => one);
}

function make(tag, kind, ...content) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.append(...content);
  return element;
}

function card(data, { row, distance }) {
  const glyph = make("span", "glyph");
  const columns = Number($("packed").dataset.columns);
  glyph.style.setProperty("--row", Math.floor(row / columns));
  glyph.style.setProperty("--column", row % columns);
  const item = make("li", "card", glyph, make("span", "name", data.names[row]), make("span", "apart", `distance ${distance}`));
  item.dataset.row = row;
  return item;
}

function button(text, run) {
  const made = make("button", "", text);
  made.type = "button";
  made.addEventListener("click", run);
  return made;
}

function show(data, text) {
  const unknown = [...new Set(split(text))].filter((word) => lookUp(data, word) === undefined);
  $("unknown").replaceChildren(...unknown.slice(0, 8).map((word) => {
    const near = suggestions(data, word).map((one) => button(one, () => search(data, replaced(text, word, one))));
    return make("p", "chips", `Not known: “${word}”.`, ...(near.length ? [" Try", ...near] : []));
  }));
  const x = features(data, text);
  if (!x) {
    $("results").replaceChildren();
    $("status").textContent = text.trim() ? "No word is known: use common English words, such as dog, rain or happy face." : "";
    return;
  }
  const found = topk(data, encode(data, x), N_SHOWN);
  const distances = [...new Set(found.map(({ distance }) => distance))];
  $("results").replaceChildren(...distances.flatMap((distance) => {
    const items = found.filter((one) => one.distance === distance);
    const n = items[0].ties > items.length ? `${items.length} of ${items[0].ties}` : items.length;
    const list = make("ul", "cards", ...items.map((one) => card(data, one)));
    const band = distance === 0 ? "the same code" : distance <= data.close ? "close" : "far";
    return [make("h2", "tie", `Distance ${distance}, ${band}: ${n} ${items[0].ties === 1 ? "glyph" : "glyphs"}`), list];
  }));
  $("status").textContent = `The ${found.length} nearest of ${data.names.length.toLocaleString("en")} glyphs, of ${data.n_bits} bits each.${found[0].distance > data.close ? " None of them is close." : ""}`;
}

function search(data, text) {
  $("words").value = text;
  show(data, text);
}

async function start() {
  const data = await unpack();
  data.anchorFeatures = anchorsOf(data);
  let timer;
  document.forms[0].addEventListener("submit", (event) => {
    event.preventDefault();
    show(data, $("words").value);
  });
  $("words").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => show(data, $("words").value), 150);
  });
  for (const one of document.querySelectorAll("[data-q]")) one.addEventListener("click", () => search(data, one.dataset.q));
  show(data, $("words").value);
  // For programs: the rows and distances that words find.
  globalThis.fasthash = { search: (text, k) => { const x = features(data, text); return x && topk(data, encode(data, x), k); }, unknown: (text) => split(text).filter((word) => lookUp(data, word) === undefined) };
}

start();
