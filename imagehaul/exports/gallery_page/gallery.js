// The gallery of a data set: a grid that holds the tiles that are seen and no others, over an index that is loaded in
// parts. Names, labels and captions are other people's text: they become text nodes, and parts of URLs when encoded.
import {choices, element, followAddress, keepInAddress, number, option} from "./controls.js";

const FORMAT = 1; // of facts and parts, as exports/gallery.py writes them
const ROOT = "../../../"; // the data set's folder, seen from exports/<run>/gallery/
const PARTS_KEPT = 40;
const AHEAD = 6; // parts that a search loads side by side
const TALLEST = 15_000_000; // pixels: browsers draw no element that is much taller
const SHOWN_BY_BROWSERS = /^image\/(jpeg|png|gif|webp|avif|bmp|x-ms-bmp)$/;
const SIZES = [["any size", 0, Infinity], ["below 256 px", 0, 256], ["256 to 1,023 px", 256, 1024], ["1,024 px and more", 1024, Infinity]];
const [PATH, NAME, THUMBNAIL, KIND, SPLIT, LABELS, WIDTH, HEIGHT, BYTES, ISSUES] = Array(10).keys();

const $ = (id) => document.getElementById(id);
const scroller = $("scroller"), space = $("space"), view = $("view");
let facts, order = null, rejects = false, shown = -1, search = 0;
const grid = {columns: 1, width: 0, height: 0, rows: 0, real: 0, tall: 0};
const tiles = new Map();

const encoded = (name) => name.split("/").map(encodeURIComponent).join("/");
const bytes = (size) => {
  const unit = size < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(size) / 3));
  return `${unit ? (size / 1000 ** unit).toFixed(1) : size} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
};
const colours = new Map(); // by label, far apart from each other
const colour = (text) => {
  if (!colours.has(text)) colours.set(text, `hsl(${(facts.labels.findIndex(([name]) => name === text) * 137.5) % 360} 85% 52%)`);
  return colours.get(text);
};

// -- the index --------------------------------------------------------------------------------------------------------

const parts = new Map(); // the newest last, at most PARTS_KEPT

function part(kind, index) {
  const name = `${kind}/${String(index).padStart(5, "0")}.json.gz`;
  let loading = parts.get(name);
  parts.delete(name);
  if (!loading) {
    loading = {value: null};
    loading.promise = unpacked(name).then((value) => (loading.value = value));
    loading.promise.catch(() => parts.delete(name));
  }
  parts.set(name, loading);
  while (parts.size > PARTS_KEPT) parts.delete(parts.keys().next().value);
  return loading;
}

async function unpacked(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} could not be loaded: the server answers ${answer.status}.`);
  return new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).json();
}

function item(list, row) {
  const name = list[NAME][row] || list[PATH][row], suffix = list[THUMBNAIL][row];
  const found = list.map((column) => column[row]);
  found[NAME] = name;
  found.thumbnail = suffix ? `${ROOT}thumbnails/${encoded(name + suffix)}` : "";
  found.image = `${ROOT}images/${encoded(name)}`;
  return found;
}

// -- search and filters -----------------------------------------------------------------------------------------------

function wanted() {
  const plain = (said) => said.normalize().toLowerCase(), text = plain($("search").value.trim()); // é is é, however written
  const [, least, below] = SIZES[$("size").value];
  const chosen = (id) => ($(id).value === "" ? -1 : Number($(id).value));
  const label = chosen("label"), split = chosen("split"), format = chosen("format"), issue = chosen("issue");
  if (!text && !least && below === Infinity && label + split + format + issue === -4) return null;
  const named = new Set(facts.labels.keys());
  if (text) facts.labels.forEach(([name], index) => plain(name).includes(text) || named.delete(index));
  return (list, row) =>
    (label < 0 || list[LABELS][row].includes(label)) &&
    (split < 0 || list[SPLIT][row] === split) &&
    (format < 0 || list[KIND][row] === format) &&
    (issue < 0 || (list[ISSUES][row] >> issue) & 1) &&
    Math.max(list[WIDTH][row], list[HEIGHT][row]) >= least &&
    Math.max(list[WIDTH][row], list[HEIGHT][row]) < below &&
    (!text || plain(list[PATH][row]).includes(text) || list[LABELS][row].some((index) => named.has(index)));
}

async function find() {
  const mine = ++search, matches = rejects ? null : wanted();
  keepInAddress(rejects);
  order = matches ? [] : null;
  scroller.scrollTop = 0;
  tiles.forEach((tile) => tile.remove());
  tiles.clear();
  lay();
  if (!matches) return say();
  const count = Math.ceil(facts.images / facts.part), loading = [];
  for (let index = 0; index < count; index++) {
    for (let ahead = index; ahead < Math.min(index + AHEAD, count); ahead++) loading[ahead] ??= part("list", ahead).promise;
    const list = await loading[index];
    loading[index] = null;
    if (mine !== search) return;
    for (let row = 0; row < list[PATH].length; row++) if (matches(list, row)) order.push(index * facts.part + row);
    if (index % 20 === 0) {
      lay();
      say(`, ${Math.floor((100 * index) / count)} % searched`);
    }
  }
  lay();
  say();
}

function say(more = "") {
  const all = rejects ? facts.rejected.images : facts.images;
  $("status").textContent = rejects ? `${number(all)} rejected` : order ? `${number(order.length)} of ${number(all)} images${more}` : "";
}

// -- the grid ---------------------------------------------------------------------------------------------------------

const total = () => (rejects ? facts.rejected.images : order ? order.length : facts.images);

function lay() {
  const inside = scroller.clientWidth - 16, least = inside < 500 ? 104 : 168;
  grid.columns = Math.max(1, Math.floor(inside / least));
  grid.width = inside / grid.columns;
  grid.height = Math.round(grid.width * 0.8) + 24;
  grid.rows = Math.ceil(total() / grid.columns);
  grid.real = grid.rows * grid.height + 16;
  grid.tall = Math.min(grid.real, TALLEST);
  space.style.height = `${grid.tall}px`;
  draw();
}

// Where the grid is taller than an element may be, each pixel of the scroll bar stands for more than one.
function top() {
  const height = scroller.clientHeight, room = grid.tall - height;
  return room > 0 ? (scroller.scrollTop / room) * (grid.real - height) : 0;
}

function draw() {
  waiting = 0;
  if (!facts) return;
  const above = top(), shift = scroller.scrollTop - above;
  const first = Math.max(0, Math.floor(above / grid.height) - 2) * grid.columns;
  const last = Math.min(total(), (Math.ceil((above + scroller.clientHeight) / grid.height) + 2) * grid.columns);
  for (const [place, tile] of tiles) {
    if (place < first || place >= last) {
      tile.remove();
      tiles.delete(place);
    }
  }
  for (let place = first; place < last; place++) {
    let tile = tiles.get(place);
    if (!tile) {
      tile = element("button", {type: "button", className: "tile"});
      tile.dataset.place = place;
      tiles.set(place, tile);
      space.append(tile);
      fill(tile, place);
    }
    const row = Math.floor(place / grid.columns), column = place % grid.columns;
    tile.style.width = `${grid.width - 8}px`;
    tile.style.height = `${grid.height - 4}px`;
    tile.style.transform = `translate(${8 + column * grid.width}px, ${8 + row * grid.height + shift}px)`;
  }
}

function fill(tile, place) {
  const ordinal = order ? order[place] : place;
  const loading = part(rejects ? "rejects" : "list", Math.floor(ordinal / facts.part));
  const show = (value) => tiles.get(place) === tile && (rejects ? fillReject : fillImage)(tile, value, ordinal % facts.part);
  if (loading.value) show(loading.value);
  else loading.promise.then(show, (error) => ($("status").textContent = error.message));
}

function fillImage(tile, list, row) {
  const found = item(list, row), kind = facts.formats[found[KIND]][0];
  const labels = found[LABELS].map((index) => facts.labels[index][0]).join(", ");
  tile.title = labels ? `${found[PATH]}\n${labels}` : found[PATH];
  const source = found.thumbnail || (/^(JPEG|MPO|PNG|GIF|WEBP|AVIF|BMP)$/.test(kind) ? found.image : "");
  const none = () => element("span", {className: "none", textContent: kind || "not a picture"});
  const picture = source ? element("img", {src: source, alt: found[PATH], decoding: "async", draggable: false}) : none();
  picture.onerror = () => picture.replaceWith(none());
  tile.replaceChildren(picture, element("small", {textContent: found[PATH]}));
}

function fillReject(tile, list, row) {
  const [path, code, message] = list[row];
  tile.title = `${path}\n${message}`;
  tile.replaceChildren(element("span", {className: "none", textContent: `${code}: ${message}`}), element("small", {textContent: path}));
}

function reveal(place) {
  const height = scroller.clientHeight, row = Math.floor(place / grid.columns) * grid.height;
  const above = top();
  if (row >= above && row + grid.height <= above + height) return;
  const aim = Math.max(0, Math.min(row - height / 2, grid.real - height));
  scroller.scrollTop = grid.real > height ? (aim / (grid.real - height)) * (grid.tall - height) : 0;
  draw();
}

// -- one image --------------------------------------------------------------------------------------------------------

async function open(place) {
  if (rejects || place < 0 || place >= total()) return;
  shown = place;
  const ordinal = order ? order[place] : place, index = Math.floor(ordinal / facts.part), row = ordinal % facts.part;
  const [list, details] = await Promise.all([part("list", index).promise, part("detail", index).promise]);
  if (shown !== place) return;
  const found = item(list, row), detail = details[row];
  const byBrowser = SHOWN_BY_BROWSERS.test(detail.type);
  const stored = facts.box_space === "stored" && byBrowser;
  const [wide, high] = stored ? detail.space : [found[WIDTH], found[HEIGHT]];
  const large = $("large");
  large.alt = found[PATH];
  // Boxes that were measured in the picture as it is stored lie right in that.
  large.style.imageOrientation = stored ? "none" : "from-image";
  large.onerror = () => found.thumbnail && large.getAttribute("src") !== found.thumbnail && (large.src = found.thumbnail);
  large.src = byBrowser ? found.image : found.thumbnail || "data:,";
  fit(wide || 256, high || 256);
  drawBoxes(detail, wide, high);
  describe(found, detail, byBrowser);
  if (!view.open) view.showModal();
  reveal(place);
}

function fit(wide, high) {
  const picture = $("picture"), stage = $("stage");
  const set = () => {
    const style = getComputedStyle(stage);
    const room = [stage.clientWidth - 2 * parseFloat(style.paddingLeft), stage.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom)];
    const scale = Math.min(room[0] / wide, room[1] / high, Math.max(1, 512 / Math.max(wide, high)));
    picture.style.width = `${wide * scale}px`;
    picture.style.height = `${high * scale}px`;
  };
  fit.again = set;
  requestAnimationFrame(set);
}

function drawBoxes(detail, wide, high) {
  const svg = $("boxes");
  svg.setAttribute("viewBox", `0 0 ${wide || 1} ${high || 1}`);
  svg.replaceChildren(...(wide ? detail.boxes : []).map(([x, y, width, height, label]) => {
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({x, y, width, height, stroke: colour(label)})) rect.setAttribute(name, value);
    return rect;
  }));
}

function describe(found, detail, byBrowser) {
  const rows = [
    ["Size", found[WIDTH] ? `${number(found[WIDTH])} × ${number(found[HEIGHT])} px, ${bytes(found[BYTES])}` : bytes(found[BYTES])],
    ["Format", facts.formats[found[KIND]][0]],
    ["Split", facts.splits[found[SPLIT]][0]],
    ["Issues", facts.issues.filter((_, bit) => (found[ISSUES] >> bit) & 1).map(([name]) => name).join(", ")],
    ...Object.entries(detail.measures || {}),
    ...Object.entries(detail.metadata || {}),
    ["Media id", detail.media_id],
    ["SHA-256", detail.sha256],
    ["URI", detail.uri],
  ].filter(([, value]) => value !== "" && value != null);
  const links = [["Original", found.image], ["Thumbnail", found.thumbnail]].filter(([, url]) => url);
  const boxed = new Set(detail.boxes.map((box) => box[4]));
  const labels = found[LABELS].map((index) => facts.labels[index][0]).filter((label) => !boxed.has(label));
  $("about").replaceChildren(
    element("h2", {textContent: found[PATH]}),
    element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {textContent: name}), element("dd", {textContent: String(value)})])),
    element("p", {}, ...links.flatMap(([text, href]) => [element("a", {href, textContent: text, target: "_blank", rel: "noopener"}), "  "])),
    ...(byBrowser ? [] : [element("p", {textContent: "Browsers do not show this format: this is its thumbnail."})]),
    element("ul", {}, ...labels.map((label) => element("li", {className: "said", textContent: label}))),
    element("ul", {}, ...detail.captions.map((text) => element("li", {className: "said", textContent: `“${text}”`}))),
    element("ul", {}, ...detail.boxes.map(describeBox)),
  );
}

function describeBox([, , width, height, label, crop], index) {
  const mark = element("b");
  mark.style.background = colour(label);
  const line = element("li", {className: "said"}, mark, element("span", {textContent: `${label}, ${Math.round(width)} × ${Math.round(height)} px`}));
  if (crop) line.prepend(element("img", {src: `${ROOT}crops/${encoded(crop)}`, alt: label, loading: "lazy"}));
  line.onmouseenter = () => $("boxes").children[index]?.classList.add("chosen");
  line.onmouseleave = () => $("boxes").children[index]?.classList.remove("chosen");
  return line;
}

// -- the page ---------------------------------------------------------------------------------------------------------

function bars(title, id, names) {
  const listed = names.map(([name, count], index) => [name, count, index]).filter(([name]) => name !== "");
  listed.sort((one, other) => other[1] - one[1]);
  const most = Math.max(1, ...listed.map(([, count]) => count));
  return element("section", {}, element("h2", {textContent: `${title} (${number(listed.length)})`}), ...listed.slice(0, 40).map(([name, count, index]) => {
    const length = element("i");
    length.style.width = `${(100 * count) / most}%`;
    const bar = element("button", {type: "button", className: "bar", title: name}, element("span", {textContent: name}), element("span", {}, length), element("span", {textContent: number(count)}));
    bar.onclick = () => {
      if (!id) return;
      $(id).value = String(index);
      showRejects(false);
    };
    return bar;
  }));
}

function showRejects(on) {
  clearTimeout(typing); // What was typed last is looked at now, and must not undo a click that came after it.
  rejects = on;
  $("rejected").setAttribute("aria-pressed", String(on));
  find();
}

async function start() {
  part("list", 0); // It is unpacked while the facts are.
  const answer = await fetch("facts.json");
  if (!answer.ok) throw new Error(`facts.json could not be loaded: the server answers ${answer.status}.`);
  facts = await answer.json();
  if (facts.format !== FORMAT) throw new Error("This page and its index are of different versions: reload it.");
  facts.issues = facts.issues.map(([name, count]) => [name.replaceAll("_", " "), count]);
  lay(); // Pictures are what one waits for: they are on their way before the menus are made.
  head();
  if (location.hash) showRejects(followAddress());
  else say();
}

function head() {
  document.title = $("dataset").textContent = facts.dataset;
  const counted = [[facts.images, "images"], [facts.objects, "boxes"], [facts.captions, "captions"]].filter(([count]) => count);
  $("totals").textContent = `${counted.map(([count, what]) => `${number(count)} ${what}`).join(", ")}, ${bytes(facts.bytes)}; delivered ${facts.time.slice(0, 16).replace("T", " ")} UTC`;
  choices("label", "All labels", facts.labels);
  choices("split", "All splits", facts.splits);
  choices("format", "All formats", facts.formats);
  choices("issue", "Any quality", facts.issues);
  $("size").replaceChildren(...SIZES.map(([name], index) => option(name, index)));
  $("rejected").textContent = `Rejected (${number(facts.rejected.images)})`;
  $("rejected").hidden = !facts.rejected.images;
  $("facts").replaceChildren(...[bars("Labels", "label", facts.labels), bars("Formats", "format", facts.formats), bars("Splits", "split", facts.splits), bars("Quality", "issue", facts.issues), bars("Rejected", "", facts.rejected.codes)].filter((section) => section.children.length > 1));
}

let waiting = 0, typing = 0, touched = null;
scroller.addEventListener("scroll", () => {
  waiting ||= requestAnimationFrame(draw);
}, {passive: true});
new ResizeObserver(() => {
  if (facts) lay();
  if (view.open) fit.again?.();
}).observe(scroller);
addEventListener("hashchange", () => facts && showRejects(followAddress()));
addEventListener("resize", () => view.open && fit.again?.());
space.addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (tile) open(Number(tile.dataset.place));
});
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => showRejects(false), 250);
});
for (const id of ["label", "split", "format", "size", "issue"]) $(id).addEventListener("change", () => showRejects(false));
$("rejected").onclick = () => showRejects(!rejects);
$("more").onclick = () => {
  $("facts").hidden = !$("facts").hidden;
  $("more").setAttribute("aria-expanded", String(!$("facts").hidden));
};
$("previous").onclick = () => open(shown - 1);
$("next").onclick = () => open(shown + 1);
$("close").onclick = () => view.close();
view.addEventListener("close", () => {
  tiles.get(shown)?.focus();
  shown = -1;
});
$("stage").addEventListener("touchstart", (event) => (touched = event.changedTouches[0].clientX), {passive: true});
$("stage").addEventListener("touchend", (event) => {
  const moved = event.changedTouches[0].clientX - touched;
  if (Math.abs(moved) > 60) open(shown + (moved < 0 ? 1 : -1));
}, {passive: true});
addEventListener("keydown", (event) => {
  if (event.target.matches("input, select")) return;
  const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid.columns, ArrowUp: -grid.columns}[event.key];
  if (view.open) {
    if (step && Math.abs(step) === 1) open(shown + step);
  } else if (event.key === "/") {
    event.preventDefault();
    $("search").focus();
  } else if (step && document.activeElement?.dataset.place) {
    event.preventDefault();
    const place = Number(document.activeElement.dataset.place) + step;
    if (place < 0 || place >= total()) return;
    reveal(place);
    tiles.get(place)?.focus();
  } else if (step && document.activeElement === scroller && total()) {
    event.preventDefault();
    tiles.get(Math.floor(top() / grid.height) * grid.columns)?.focus();
  }
});

start().catch((error) => ($("status").textContent = error.message));
