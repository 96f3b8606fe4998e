// The page calls the API and shows the answers. The query is part of the address, so that the Back
// button works and a search can be shared. Texts from the server are always set as text, not HTML.
"use strict";

const $ = (id) => document.getElementById(id);
const info = JSON.parse(document.body.dataset.info);
const ORDERS = ["weights", "distance"];
const BY_ITEM = JSON.parse(document.body.dataset.byItem); // orders of a search by an item
const FILTERS = ["filter", "bits", "radius", "k", "order", "compare", "recall"];
const APART = ["order", "recall"]; // fields outside of the filters
const BANDS = { same: "Same code", close: "Close", far: "Far" };
const LEAST_TIES = 4; // shown items that tie, before they are a group of their own
const MOST_TAGS = 3; // labels on a card
const N_HUES = 12;
const PAUSE_MS = 250; // after the last key, before a search

const usual = { bits: String(info.usual_bits), k: String(info.usual_answers), order: "weights", compare: "all", recall: "1" };
const hues = new Map([...$("filter").options].map((one, i) => [one.value, (i * 5) % N_HUES]));
let asked = 0; // number of the last request; answers to earlier requests are dropped
let timer;
let dropped; // the file that is searched by, and its address
let shown = []; // the items of the cards, in their order

// Make an element; text and elements in `content` are added to it.
function make(tag, { kind, ...properties } = {}, ...content) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  Object.assign(element, properties);
  element.append(...content);
  return element;
}

// Texts of others may run from right to left; what surrounds them must not.
const other = (text) => make("bdi", { dir: "auto" }, text);
const short = (text) => (text.length > 80 ? `${text.slice(0, 79)}…` : text);
const count = (n, what = "item") => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const action = (text, run, kind = "") => make("button", { type: "button", kind, onclick: run }, text);

// The text without case and accents, as the server compares words.
const plain = (text) => text.normalize("NFKD").toLowerCase().normalize("NFKD").replace(/[\p{Mn}\p{Me}]/gu, "");

// The text with another word in place of a whole word, whatever its case and accents are.
function replaced(text, word, by) {
  const found = text.replace(/[\p{L}\p{N}\p{M}_]+/gu, (one) => (plain(one) === plain(word) ? by : one));
  return found === text ? text.replaceAll(word, () => by) : found;
}

async function get(path, parameters, options) {
  const query = new URLSearchParams(parameters).toString();
  const response = await fetch(query ? `${path}?${query}` : path, options);
  const content = await response.json();
  if (!response.ok) throw Object.assign(new Error(content.error), content);
  return content;
}

// The values of the form, without the empty ones.
function form() {
  const said = { q: $("words").value.trim() };
  for (const name of FILTERS) said[name] = $(name).value;
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== ""));
}

function address(state) {
  const said = Object.entries(state).filter(([name, value]) => value && value !== usual[name]);
  const query = new URLSearchParams(said).toString();
  return query ? `?${query}` : location.pathname;
}

function go(state, replace = false) {
  dropped = undefined;
  if ($("detail").open) $("detail").close();
  history[replace ? "replaceState" : "pushState"](null, "", address(state));
  return show();
}

const here = () => Object.fromEntries(new URLSearchParams(location.search));
const like = (id) => go({ ...form(), q: "", item: String(id) });

// Run the search in the address, and show its answers.
async function show() {
  const state = here();
  // The text in the field is not changed while it is typed, including its spaces.
  if ($("words").value.trim() !== (state.q ?? "")) $("words").value = state.q ?? "";
  for (const name of FILTERS) $(name).value = state[name] ?? usual[name] ?? "";
  const active = FILTERS.filter((name) => !APART.includes(name)).filter((name) => state[name] && state[name] !== usual[name]);
  const says = { filter: "", radius: "distance up to ", bits: "bits: ", k: "at most ", compare: "compare " };
  $("active").replaceChildren(...(active.length ? [other(active.map((name) => says[name] + state[name]).join(", "))] : []));
  await ask(state.item);
}

// Search, and return what was found and how to name the query.
async function search(item, start = 0, { q, order, compare, recall, ...filters } = form()) {
  const words = compare === "codes" ? { compare } : {};
  const by_item = BY_ITEM.includes(order) ? order : BY_ITEM[0];
  // Only a search by distance takes a recall.
  const is_exact = recall === usual.recall || (item !== undefined && !dropped ? by_item : order) !== "distance";
  const share = is_exact ? {} : { recall };
  if (dropped) {
    const { file, modality } = dropped;
    const found = await get("api/search/file", { ...filters, ...share, order, ...(modality && { modality }) }, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
    return { ...found, items: found.answers, like: file.name, orders: ORDERS };
  }
  if (item !== undefined) {
    const of = encodeURIComponent(item);
    const by = { order: by_item, ...share };
    if (BY_ITEM.length > 1) Object.assign(by, words);
    const [one, found] = await Promise.all([get(`api/items/${of}`), get(`api/items/${of}/neighbours`, { ...filters, ...by })]);
    const items = found.answers.filter((each) => each.id !== one.id);
    return { ...found, items, like: one.name, asked: one, orders: BY_ITEM };
  }
  if (q && info.by_words) {
    const found = await get("api/search", { q, order, ...words, ...share, ...filters });
    return { ...found, items: found.answers, for: q, orders: ORDERS };
  }
  const { filter, k } = filters;
  const found = await get("api/items", { contains: q ?? "", start, ...(k && { k }), ...(filter && { filter }) });
  return { ...found, start, named: q, orders: [] };
}

async function ask(item, start = 0) {
  const number = ++asked;
  $("results").classList.add("busy");
  let answer;
  try {
    answer = await search(item, start);
  } catch (error) {
    answer = { items: [], orders: [], error, unknown_words: error.unknown_words };
  }
  if (number !== asked) return;
  draw(answer, item);
  $("results").classList.remove("busy");
}

function draw(answer, item) {
  const hadFocus = $("results").contains(document.activeElement);
  shown = answer.start ? [...shown, ...answer.items] : answer.items;
  pin(answer);
  const texts = !shown.some((one) => one.has_picture);
  $("results").replaceChildren(...groups(shown).map((group) => section(group, texts)));
  // For users of the keyboard, the focus stays among the answers.
  if (hadFocus) cards()[answer.start ?? 0]?.focus();
  $("status").replaceChildren(...status(answer));
  $("order-field").hidden = answer.orders.length < 2 || !shown.length;
  if (answer.order) $("order").value = answer.order;
  $("recall-field").hidden = $("recall").length < 2 || answer.order !== "distance" || !shown.length;
  $("more").hidden = !(answer.n_items > shown.length);
  $("more").onclick = () => ask(undefined, shown.length);
  const query = answer.for ?? answer.like ?? answer.named;
  document.title = `${query ? `${short(query)} – ` : ""}${info.title} – fasthash`;
  note(answer, item);
}

// What was found, in a sentence.
function status(answer) {
  const n = shown.length;
  if (answer.error) return [answer.error.message];
  const bits = answer.bits && info.bits.length > 1 ? `, ${answer.bits} bits` : "";
  const how = answer.exact === false ? `${bits}, not all of the nearest` : bits;
  if (answer.for) return [`${n ? count(n) : "Nothing found"} for “`, other(answer.for), `”${how}`];
  if (answer.like) return [`${n ? count(n) : "Nothing found"} like “`, other(short(answer.like)), `”${how}`];
  if (!answer.named) return [`${n} of ${count(answer.n_items)}`];
  return [n ? `${n} of ${count(answer.n_items)} with “` : "Nothing found with “", other(answer.named), "” in the name"];
}

// Show the item or file that is searched for above the answers.
function pin(answer) {
  const box = $("asked");
  box.hidden = !answer.asked && !(dropped && answer.like);
  box.replaceChildren();
  if (box.hidden) return;
  const end = action("Clear", () => go({ ...form(), q: "" }));
  if (answer.asked) {
    const one = answer.asked;
    box.append(...picture(one), make("div", {}, make("p", { kind: "quiet small" }, "Items like"), name(one, "p"), tags(one.labels), ...sound(one)), end);
  } else {
    const isPicture = dropped.file.type.startsWith("image/");
    const preview = isPicture ? make("img", { src: dropped.url, alt: "" }) : make("audio", { src: dropped.url, controls: true });
    box.append(...(isPicture ? [preview] : []), make("div", {}, make("p", { kind: "quiet small" }, "Items like your file"), make("p", {}, other(short(dropped.file.name))), ...(isPicture ? [] : [preview])), end);
  }
}

// Cut the answers into groups: those that tie, and between them those of one band.
function groups(items) {
  const value = (one) => one.score ?? one.distance ?? one.id;
  const runs = [];
  for (const one of items) {
    const run = runs.at(-1);
    if (run && value(run[0]) === value(one) && run[0].band === one.band) run.push(one); else runs.push([one]);
  }
  const found = [];
  for (const run of runs) {
    const last = found.at(-1);
    const tie = run.length >= LEAST_TIES;
    if (!tie && last && !last.tie && last.band === run[0].band) last.items.push(...run);
    else found.push({ items: run, tie, band: run[0].band });
  }
  return found;
}

function section({ items, tie, band }, texts) {
  const list = make("ul", { kind: `cards results${texts ? " texts" : ""}` }, ...items.map(card));
  const said = [];
  if (band) said.push(BANDS[band]);
  if (tie) {
    const { ties, score, distance } = items[0];
    // A search with a recall does not know how many items tie.
    const n = ties > items.length ? `${items.length} of ${count(ties)}` : count(ties ?? items.length);
    said.push(`${n} ${score === null ? `at distance ${distance}` : "with the same score"}`);
  }
  const whole = make("section", { kind: band ?? "" });
  if (said.length) {
    const why = tie ? [make("span", { kind: "quiet" }, " Their order says nothing.")] : [];
    whole.append(make("h2", { kind: "group" }, said.join(" · "), ...why));
  }
  whole.append(list);
  return whole;
}

function card(one) {
  const button = action("", () => detail(one.id));
  button.dataset.id = one.id;
  const has = (one.matched_words ?? []).length ? [make("span", { kind: "quiet" }, "has “", other(one.matched_words.join(" ")), "”")] : [];
  const apart = typeof one.distance === "number" ? [...bar(one), make("span", { kind: "apart" }, far_of(one))] : [];
  const far = has.length || apart.length ? [make("span", { kind: "foot" }, ...has, ...apart)] : [];
  button.append(...picture(one), name(one), tags(one.labels, MOST_TAGS), ...far);
  return make("li", { kind: "card" }, button, ...sound(one));
}

const far_of = ({ distance }) => (distance === 0 ? "same code" : count(distance, "bit") + " apart");

function bar({ nearness }) {
  if (nearness === null || nearness === undefined) return [];
  const part = make("span");
  part.style.width = `${Math.round(100 * nearness)}%`;
  return [make("span", { kind: "bar", title: `nearer than ${Math.round(100 * nearness)} % of unrelated pairs` }, part)];
}

function picture(one) {
  if (!one.has_picture) return [];
  const image = make("img", { src: `api/items/${one.id}/picture`, alt: "", loading: "lazy" });
  image.addEventListener("error", () => image.remove());
  return [image];
}

function sound(one) {
  if (!one.has_sound) return [];
  const player = make("audio", { src: `api/items/${one.id}/sound`, controls: true, preload: "none" });
  player.setAttribute("aria-label", `Sound of ${short(one.name)}`);
  return [player];
}

const name = (one, tag = "span") => make(tag, { kind: "name", dir: "auto", title: short(one.name) }, one.name);

function tags(labels, most = labels.length) {
  const made = labels.slice(0, most).map((label) => tag("span", label));
  if (labels.length > most) made.push(make("span", { kind: "tag" }, `+${labels.length - most}`));
  return make("span", { kind: "tags" }, ...made);
}

const tag = (element, label) => make(element, { kind: `tag hue-${hues.get(label) ?? 0}`, dir: "auto" }, short(label));

// Show all that is known of an item.
function detail(id) {
  const at = shown.findIndex((one) => one.id === id);
  const one = shown[at];
  const box = $("detail");
  const facts = make("dl", {}, make("dt", {}, "Number"), make("dd", {}, String(one.id)));
  const fact = (what, text) => facts.append(make("dt", {}, what), make("dd", {}, text));
  if (typeof one.distance === "number") {
    if (one.band) fact("Match", BANDS[one.band]);
    fact("Distance", `${one.distance} of ${$("bits").value} bits`);
    if (typeof one.nearness === "number") fact("Nearer than", `${(100 * one.nearness).toFixed(1)} % of unrelated pairs`);
  }
  if (typeof one.score === "number") fact("Score", one.score.toPrecision(3));
  if (one.matched_words) fact("Words of the query", one.matched_words.join(", ") || "none");
  if (one.ties) fact("Ties", one.ties === 1 ? "none" : count(one.ties));
  const labels = make("div", { kind: "tags" }, ...one.labels.map((label) => Object.assign(tag("button", label), {
    type: "button", title: "Show only items with this label", onclick: () => go({ ...form(), ...here(), filter: label }),
  })));
  const step = (text, to) => Object.assign(action(text, () => detail(shown[to].id)), { disabled: !shown[to] });
  box.replaceChildren(...picture(one), name(one, "h2"), ...sound(one), labels, make("div", { kind: "actions" },
    action("More like this", () => like(one.id), "main"), step("Previous", at - 1), step("Next", at + 1),
    action("Close", () => box.close())), facts);
  if (!box.open) box.showModal();
  box.querySelector("button.main").focus();
  box.onkeydown = ({ key, target }) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1 }[key];
    if (shown[to] && target.tagName !== "AUDIO") detail(shown[to].id);
  };
  box.onclose = () => cards().find((each) => each.dataset.id === String(one.id))?.focus();
}

// Say which words are unknown, that answers are weak, or what is nearest if nothing was found.
async function note(answer, item) {
  const number = asked;
  const lines = [];
  const known = ({ word, suggestions }) => make("p", {}, "Not known: “", other(word), "”.", ...suggestions.flatMap((each, i) => [
    i ? " " : " Try ", action(each, () => go({ ...form(), q: replaced($("words").value, word, each) }), "chip")]));
  lines.push(...(answer.unknown_words ?? []).map(known));
  if (answer.weak && shown.length) lines.push(make("p", {}, "No item is close. These are the nearest ones."));
  if (!shown.length && !answer.error) lines.push(...await nearest(answer, item));
  if (number !== asked) return;
  $("note").replaceChildren(...lines);
  $("note").hidden = lines.length === 0;
}

async function nearest({ named }, item) {
  if (named !== undefined) {
    const words = named.split(/\s+/).filter((word) => word !== named);
    return [make("p", {}, "No name contains all of this. ", ...words.flatMap((word) => [action(word, () => go({ ...form(), q: word }), "chip"), " "]),
      action("Show all items", () => go({}), "chip"))];
  }
  const { radius, ...rest } = form();
  if (radius === undefined) return [];
  const found = await search(item, 0, rest).catch(() => ({ items: [] }));
  const first = found.items[0];
  if (!first) return [];
  const near = Math.min(...found.items.map((one) => one.distance));
  const best = found.items.find((one) => one.distance === near);
  return [make("p", {}, "The nearest item is “", other(short(best.name)), `”, at distance ${near}. `,
    action(`Show items up to distance ${near}`, () => widen(near), "chip"))];
}

function widen(radius) {
  $("radius").value = radius;
  return filter();
}

// Apply the filters to the current search, by text, by an item or by a file.
function filter() {
  const { item = "" } = here();
  const file = dropped;
  history.pushState(null, "", address({ ...form(), item }));
  dropped = file;
  return show();
}

async function surprise() {
  const label = $("filter").value;
  const some = label ? { filter: label } : {};
  const n = label ? (await get("api/items", { k: 1, ...some })).n_items : info.n_items;
  const start = Math.floor(Math.random() * n);
  const { items } = await get("api/items", { k: 1, start, ...some });
  return like(items[0].id);
}

function drop(file) {
  if (dropped) URL.revokeObjectURL(dropped.url);
  history.pushState(null, "", address({ ...form(), q: "" }));
  const modality = $("modality")?.value ?? info.by_file[0];
  dropped = { file, modality, url: URL.createObjectURL(file) };
  return show();
}

const cards = () => [...$("results").querySelectorAll(".card > button")];

// Move the focus from card to card; up and down, to the nearest card of the next row.
function arrow(event) {
  const all = cards();
  const at = all.indexOf(document.activeElement);
  if (at < 0) return;
  const box = all[at].getBoundingClientRect();
  const beside = (way) => {
    const rows = all.map((one) => one.getBoundingClientRect()).map(({ left, top }, i) => ({ i, left, far: way * (top - box.top) }));
    const later = rows.filter(({ far }) => far > box.height / 2);
    const next = Math.min(...later.map(({ far }) => far));
    const row = later.filter(({ far }) => far < next + box.height / 2);
    row.sort((a, b) => Math.abs(a.left - box.left) - Math.abs(b.left - box.left));
    return row[0]?.i;
  };
  const to = { ArrowRight: () => at + 1, ArrowLeft: () => at - 1, Home: () => 0, End: () => all.length - 1, ArrowDown: () => beside(1), ArrowUp: () => beside(-1) }[event.key]?.();
  if (all[to]) {
    event.preventDefault();
    all[to].focus();
  }
}

function listen() {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    go(form());
  });
  $("words").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => go(form(), true), PAUSE_MS);
  });
  for (const name of FILTERS) $(name).addEventListener("change", filter);
  $("clear").addEventListener("click", () => go({}));
  $("surprise").addEventListener("click", surprise);
  $("results").addEventListener("keydown", arrow);
  for (const one of document.querySelectorAll("[data-q]")) {
    one.addEventListener("click", () => go({ q: one.dataset.q }));
  }
  addEventListener("popstate", () => { dropped = undefined; show(); });
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT)$/.test(event.target.tagName) && !$("detail").open) {
      event.preventDefault();
      $("words").focus();
    }
  });
  if (!info.by_file.length) return;
  $("file").addEventListener("change", () => { if ($("file").files[0]) drop($("file").files[0]); });
  for (const [kind, on] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", on);
      if (kind === "drop" && event.dataTransfer.files[0]) drop(event.dataTransfer.files[0]);
    });
  }
}

listen();
show();
