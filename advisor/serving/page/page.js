"use strict";
// Names of files and classes are put in as text alone, so nothing in them can run.

const AT_ONCE = 4, MOST_SHOWN = 200, TRIES = 20;
const byId = (name) => document.getElementById(name);
const waiting = [];
let sending = 0;
let run = null;

const percent = (share) => share === 1 ? "100%" : (100 * Math.min(share, 0.999)).toFixed(1) + "%";
const later = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function about() {
  const answer = await fetch("api/run");
  if (!answer.ok) throw new Error((await answer.json()).error);
  run = await answer.json();
  document.title = byId("name").textContent = run.name;
  const some = run.classes.slice(0, 12).join(", ") + (run.classes.length > 12 ? " and others" : "");
  byId("about").textContent = `Tells ${run.classes.length} classes apart: ${some}.`;
}

function add(file, name) {
  const item = byId("answer").content.cloneNode(true).firstElementChild;
  const picture = item.querySelector("img");
  picture.src = URL.createObjectURL(file);
  picture.onload = picture.onerror = () => URL.revokeObjectURL(picture.src);
  item.querySelector(".file").textContent = name;
  byId("answers").prepend(item);
  while (byId("answers").children.length > MOST_SHOWN) byId("answers").lastElementChild.remove();
  waiting.push([file, item]);
  next();
}

function next() {
  while (sending < AT_ONCE && waiting.length) {
    const [file, item] = waiting.shift();
    sending += 1;
    ask("api/predict", file).then((answer) => show(item, answer, file), (error) => fail(item, error.message))
      .finally(() => { sending -= 1; next(); });
  }
}

async function ask(what, file) {
  if (run && file.size > run.most_bytes) {
    throw new Error(`more than ${Math.round(run.most_bytes / 1e6)} MB; choose a smaller picture`);
  }
  for (let tried = 1; ; tried += 1) {
    const answer = await fetch(what, {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
    }).catch(() => { throw new Error("the server does not answer"); });
    if ((answer.status === 429 || answer.status === 503) && tried < TRIES) {
      await later(Number(answer.headers.get("Retry-After")) || 1);
      continue;
    }
    if (answer.ok && answer.headers.get("Content-Type") === "image/png") return answer.blob();
    const told = await answer.json().catch(() => ({ error: "the server does not answer" }));
    if (!answer.ok) throw new Error(told.error);
    return told;
  }
}

async function look(item, file) {
  const button = item.querySelector(".look"), picture = item.querySelector("img");
  button.disabled = true;
  try {
    picture.src = URL.createObjectURL(await ask("api/heatmap", file));
    picture.onload = picture.onerror = () => URL.revokeObjectURL(picture.src);
    button.hidden = true;
    item.dataset.looked = "yes";
  } catch (error) {
    button.textContent = error.message;
  }
}

function show(item, answer, file) {
  const best = answer.top[0];
  item.querySelector(".best").textContent = `${best.label} ${percent(best.probability)}`;
  item.querySelector(".strange").hidden = !answer.unlike;
  if (answer.set) {
    const set = item.querySelector(".set"), share = `${+(100 * answer.coverage).toFixed(2)}%`;
    set.hidden = false;
    set.textContent = answer.set.length
      ? `Set that holds the truth in ${share} of cases: ${answer.set.join(", ")}`
      : `No class: for a set that holds the truth in ${share} of cases, this one is left out as too unsure`;
  }
  for (const { label, probability } of answer.top) {
    const bar = document.createElement("li"), meter = document.createElement("meter");
    const name = document.createElement("span"), share = document.createElement("span");
    name.textContent = label;
    meter.value = probability;
    share.textContent = percent(probability);
    bar.append(name, meter, share);
    item.querySelector(".bars").append(bar);
  }
  const button = item.querySelector(".look");
  button.hidden = false;
  button.addEventListener("click", () => look(item, file));
  item.dataset.done = "yes";
}

function fail(item, why) {
  const best = item.querySelector(".best");
  best.textContent = why;
  best.classList.add("failed");
  item.dataset.done = "failed";
}

const drop = byId("drop");
for (const event of ["dragenter", "dragover"]) {
  addEventListener(event, (moved) => { moved.preventDefault(); drop.classList.add("over"); });
}
addEventListener("dragleave", (moved) => { if (!moved.relatedTarget) drop.classList.remove("over"); });
addEventListener("drop", (dropped) => {
  dropped.preventDefault();
  drop.classList.remove("over");
  for (const file of dropped.dataTransfer.files) add(file, file.name);
});
byId("files").addEventListener("change", (chosen) => {
  for (const file of chosen.target.files) add(file, file.name);
  chosen.target.value = "";
});
addEventListener("paste", (pasted) => {
  for (const file of pasted.clipboardData.files) add(file, file.name);
});

// Browsers give the camera to pages of this machine, or over https, alone.
byId("camera").hidden = !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
byId("camera").addEventListener("click", async () => {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    byId("video").srcObject = stream;
    byId("live").hidden = false;
    byId("note").textContent = "";
  } catch (error) {
    byId("note").textContent = `The camera cannot be used: ${error.message}`;
  }
});
byId("shoot").addEventListener("click", () => {
  const video = byId("video"), sheet = document.createElement("canvas");
  if (!video.videoWidth) return;
  sheet.width = video.videoWidth;
  sheet.height = video.videoHeight;
  sheet.getContext("2d").drawImage(video, 0, 0);
  sheet.toBlob((picture) => add(picture, "from the camera"), "image/jpeg", 0.95);
});
byId("stop").addEventListener("click", () => {
  for (const track of byId("video").srcObject.getTracks()) track.stop();
  byId("video").srcObject = null;
  byId("live").hidden = true;
});

about().catch((error) => { byId("note").textContent = error.message || "the server does not answer"; });
