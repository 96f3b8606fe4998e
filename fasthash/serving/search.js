// The page: asks the API, shows answers. What is asked stands in the address, so that the browser's
// Back works and a search can be passed on. Texts of others are only ever set as text.
"use strict";

const $ = (id) => document.getElementById(id);
const FILTERS = ["label", "bits", "radius", "k"];
const PAUSE_MS = 250; // after the last key, before a search

let info;
let asked = 0; // number of the last request: answers to earlier ones are dropped
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

// What the form says, without what is empty.
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

// Show what the address asks for.
async function show() {
  const state = Object.fromEntries(new URLSearchParams(location.search));
  $("words").value = state.q ?? "";
  $("label").value = state.label ?? "";
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
      answer = { items: found.answers, says: `like “${shown.name}”, ${found.bits} bits`, item: shown.id };
    } else if (q && info.by_words) {
      const found = await get("api/search", { q, ...filters });
      answer = { items: found.answers, says: `for “${q}”, ${found.bits} bits` };
    } else {
      const { label, k } = filters;
      const found = await get("api/items", { contains: q ?? "", start, ...(k && { k }), ...(label && { label }) });
      const named = q ? ` with “${q}” in their names` : "";
      answer = { ...found, start, says: `of ${found.n_items} items${named}: pick one` };
    }
    if (number === asked) draw(answer);
  } catch (error) {
    if (number !== asked) return;
    $("grid").replaceChildren();
    $("more").hidden = true;
    $("status").textContent = error.message;
  }
  $("grid").classList.remove("busy");
}

function draw(answer) {
  const cards = answer.items.map((one) => card(one, answer.item));
  const grid = $("grid");
  if (answer.start) grid.append(...cards); else grid.replaceChildren(...cards);
  grid.classList.toggle("texts", !grid.querySelector("img"));
  const n = grid.childElementCount;
  $("status").textContent = n ? `${n} ${answer.says}` : "Nothing found with these filters.";
  const more = answer.n_items !== undefined && n < answer.n_items;
  $("more").hidden = !more;
  $("more").onclick = () => ask(undefined, n);
}

function card(one, item) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.id = one.id;
  button.title = ["Find what is like it", ...one.labels].join(" · ");
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
    const distance = document.createElement("span");
    distance.className = "distance";
    distance.textContent = one.distance === 1 ? "1 bit" : `${one.distance} bits`;
    button.append(distance);
  }
  button.addEventListener("click", () => go({ ...form(), q: "", item: String(one.id) }));
  const element = document.createElement("li");
  element.append(button);
  return element;
}

function go(state, replace = false) {
  const said = Object.fromEntries(Object.entries(state).filter(([, value]) => value !== ""));
  const method = replace ? "replaceState" : "pushState";
  history[method](null, "", address(said));
  return show();
}

// Filters change what is shown, be it found by words or by an item.
function filter() {
  const item = new URLSearchParams(location.search).get("item") ?? "";
  return go({ ...form(), item });
}

async function start() {
  const labels = (await get("api/labels")).labels;
  info = await get("api/info");
  document.title = `${info.title} – fasthash`;
  $("title").textContent = info.title;
  $("about").textContent = `${info.n_items.toLocaleString("en")} items by the Hamming distance of their codes`;
  $("words-label").textContent = info.by_words ? "Words, in English" : "Words in the name of an item";
  $("label").append(...labels.map(({ name, n_items }) => option(name, `${name} (${n_items})`)));
  $("label-field").hidden = labels.length === 0;
  $("bits").append(...info.bits.map((n) => option(n, n)));
  $("bits").disabled = info.bits.length === 1;
  $("radius").max = Math.max(...info.bits);
  $("k").max = info.most_answers;
  const ways = [info.by_words
    ? "Type words, and what they mean is found by codes, whatever it is called."
    : "There is no model of words here: typed words look for items by name; pick one, and what is like it is found by codes."];
  ways.push("Pick an item to find what is like it.");
  if (info.features.length) {
    const kinds = info.features.map(({ modality, n_features }) => `${n_features} of ${modality ?? "one kind"}`);
    ways.push(`Features (${kinds.join(", ")}) of a model of your own go to api/search/features.`);
  }
  ways.push("Codes go to api/search/code.");
  $("possible").textContent = ways.join(" ");

  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    go(form());
  });
  $("words").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const { q, ...rest } = form();
      const words = $("words").value;
      go({ ...rest, q: q ?? "" }, true).then(() => {
        // What is being typed stays as it is, spaces included.
        if (document.activeElement === $("words") && $("words").value.trim() === words.trim()) $("words").value = words;
      });
    }, PAUSE_MS);
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
