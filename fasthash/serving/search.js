// The page calls the API and shows the answers. The query is part of the address, so that the Back
// button works and a search can be shared. Texts from the server are always set as text, not HTML.
"use strict";

const $ = (id) => document.getElementById(id);
const FILTERS = ["filter", "bits", "radius", "k"];
const ORDERS = {
  weights: "The results are sorted by score, highest first: "
    + "a bit adds more to the score if it says more about the query.",
  distance: "The results are sorted by distance, smallest first.",
};
const PAUSE_MS = 250; // after the last key, before a search

let info;
let asked = 0; // number of the last request; answers to earlier requests are dropped
let timer;

async function get(path, parameters) {
  const query = new URLSearchParams(parameters).toString();
  const response = await fetch(query ? `${path}?${query}` : path);
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

function option(value, text) {
  const element = document.createElement("option");
  element.value = value;
  element.textContent = text;
  return element;
}

// The values of the form, without the empty ones.
function form() {
  const said = { q: $("words").value.trim() };
  for (const name of FILTERS) said[name] = $(name).value;
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== ""));
}

function address(state) {
  const usual = { bits: String(info.usual_bits), k: String(info.usual_answers) };
  const said = Object.entries(state).filter(([name, value]) => value !== usual[name]);
  const query = new URLSearchParams(said).toString();
  return query ? `?${query}` : location.pathname;
}

// Run the search in the address, and show its answers.
async function show() {
  const state = Object.fromEntries(new URLSearchParams(location.search));
  // The text in the field is not changed while it is typed, including its spaces.
  if ($("words").value.trim() !== (state.q ?? "")) $("words").value = state.q ?? "";
  $("filter").value = state.filter ?? "";
  $("bits").value = state.bits ?? info.usual_bits;
  $("radius").value = state.radius ?? "";
  $("k").value = state.k ?? info.usual_answers;
  await ask(state.item);
}

async function ask(item, start = 0) {
  const number = ++asked;
  const { q, ...filters } = form();
  $("grid").classList.add("busy");
  try {
    let answer;
    if (item !== undefined) {
      const of = encodeURIComponent(item);
      const [shown, found] = await Promise.all([
        get(`api/items/${of}`), get(`api/items/${of}/neighbours`, filters)]);
      const says = `like “${shown.name}”, ${found.bits} bits`;
      answer = { ...found, items: found.answers, says, item: shown.id };
    } else if (q && info.by_words) {
      const found = await get("api/search", { q, ...filters });
      answer = { ...found, items: found.answers, says: `for “${q}”, ${found.bits} bits` };
    } else {
      const { filter: label, k } = filters;
      const some = { ...(k && { k }), ...(label && { filter: label }) };
      const found = await get("api/items", { contains: q ?? "", start, ...some });
      const named = q ? ` with “${q}” in their names` : "";
      answer = { ...found, start, says: `of ${found.n_items} items${named}: pick one` };
    }
    if (number === asked) draw(answer);
  } catch (error) {
    if (number !== asked) return;
    $("grid").replaceChildren();
    $("more").hidden = true;
    $("order").textContent = "";
    $("status").textContent = error.message;
  }
  $("grid").classList.remove("busy");
}

function draw(answer) {
  const cards = answer.items.map((one) => card(one, answer));
  const grid = $("grid");
  const hadFocus = grid.contains(document.activeElement);
  if (answer.start) grid.append(...cards); else grid.replaceChildren(...cards);
  // For users of the keyboard, the focus stays among the answers.
  const first = grid.querySelector("[aria-current]") ?? grid.querySelector("button");
  if (hadFocus && !answer.start) first?.focus();
  grid.classList.toggle("texts", !grid.querySelector("img"));
  const n = grid.childElementCount;
  $("status").textContent = n ? `${n} ${answer.says}` : "Nothing found with these filters.";
  $("order").textContent = (n && ORDERS[answer.order]) || "";
  const more = answer.n_items !== undefined && n < answer.n_items;
  $("more").hidden = !more;
  $("more").onclick = () => ask(undefined, n);
}

function card(one, { item, bits }) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.id = one.id;
  button.title = ["Find similar items", ...one.labels].join(" · ");
  if (one.id === item) button.setAttribute("aria-current", "true");
  if (one.has_picture) {
    const picture = document.createElement("img");
    picture.src = `api/items/${one.id}/picture`;
    picture.alt = "";
    picture.loading = "lazy";
    picture.addEventListener("error", () => picture.remove());
    button.append(picture);
  }
  const name = document.createElement("span");
  name.textContent = one.name;
  button.append(name);
  if (one.distance !== undefined) {
    button.append(small("distance", `distance ${one.distance} of ${bits} bits`));
    if (one.score !== null) button.append(small("score", `score ${one.score.toPrecision(3)}`));
  }
  button.addEventListener("click", () => go({ ...form(), q: "", item: String(one.id) }));
  const element = document.createElement("li");
  element.append(button);
  return element;
}

function small(kind, text) {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}

function go(state, replace = false) {
  const said = Object.fromEntries(Object.entries(state).filter(([, value]) => value !== ""));
  const method = replace ? "replaceState" : "pushState";
  history[method](null, "", address(said));
  return show();
}

// Apply the filters to the current search, by text or by an item.
function filter() {
  const item = new URLSearchParams(location.search).get("item") ?? "";
  return go({ ...form(), item });
}

// Describe the ways to search this collection.
function possible() {
  const ways = [info.by_words
    ? "Type a text to find items with a similar meaning, whatever their names are."
    : "Type words to find items by their names; this collection has no search by meaning."];
  ways.push("Select an item to find similar items.");
  if (info.features.length) {
    const kind = ({ modality, n_features }) => `${n_features}${modality ? ` of ${modality}` : ""}`;
    const kinds = info.features.map(kind).join(" or ");
    ways.push(`Programs can also search by features (${kinds}) or by codes.`);
  } else {
    ways.push("Programs can also search by codes.");
  }
  return ways.join(" ");
}

async function start() {
  const labels = (await get("api/labels")).labels;
  info = await get("api/info");
  document.title = `${info.title} – fasthash`;
  $("title").textContent = info.title;
  const n = info.n_items.toLocaleString("en");
  $("about").textContent = `${n} items, compared by their codes`;
  $("words-label").textContent = info.by_words ? "Words" : "Words in the name of an item";
  $("filter").append(...labels.map(({ name, n_items }) => option(name, `${name} (${n_items})`)));
  $("filter-field").hidden = labels.length === 0;
  $("bits").append(...info.bits.map((n) => option(n, n)));
  $("bits").disabled = info.bits.length === 1;
  $("radius").max = Math.max(...info.bits);
  $("k").max = info.most_answers;
  $("possible").textContent = possible();

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
  addEventListener("popstate", show);
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT)$/.test(event.target.tagName)) {
      event.preventDefault();
      $("words").focus();
    }
  });
  await show();
}

start().catch((error) => { $("status").textContent = error.message; });
