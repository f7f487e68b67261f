"use strict";

// Shows one pair after another. A choice goes to the server first; the next pair is shown when the
// server has answered that the vote is on the disk. Texts enter the page as text, never as HTML.

const KEYS = {
  1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", t: "tie", 0: "tie", s: "skip",
};
const SAID = { left: "Answer 1", right: "Answer 2", tie: "A tie", skip: "Skipped" };
const PAUSE = 400; // ms in which a new pair takes no choice: the second half of a double click
const ROLES = { system: "System", user: "User", assistant: "Assistant" };

const find = (selector) => document.querySelector(selector);
const key = location.hash.slice(1);

let state = null;
let kept = null; // the request that is not answered yet: {path, body, side}
let isBusy = true;
let shownAt = 0;

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: { "X-Feedback-Key": key, ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
    });
  } catch {
    throw new Error("The command does not answer. Is it still running?");
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok && !(answer.status === 409 && "n_pairs" in content)) {
    throw new Error(content.error || `The command answered with error ${answer.status}.`);
  }
  return content;
}

// ---- what is shown

function setText(element, text) {
  element.textContent = text || "(says nothing)";
  element.classList.toggle("nothing", !text);
}

function showPrompt(messages) {
  const alone = messages.length === 1;
  const parts = messages.map(({ role, content }) => {
    const part = document.createElement("div");
    const name = document.createElement("h2");
    const text = document.createElement("p");
    part.className = `message ${role}`;
    name.textContent = alone ? "Prompt" : ROLES[role];
    text.className = "text";
    text.dir = "auto";
    setText(text, content);
    part.append(name, text);
    return part;
  });
  find("#prompt").replaceChildren(...parts);
}

function show(next) {
  state = next;
  const { pair, n_judged: done, n_pairs: total } = state;
  find("#judge").hidden = !pair;
  find("#end").hidden = Boolean(pair);
  find("#choices").hidden = false;
  find("#choices").classList.toggle("over", !pair);
  find("#undo").classList.toggle("absent", !state.last_vote);
  find("#progress").textContent = pair ? `${done + 1} of ${total}` : `${total} of ${total}`;
  find("#bar").setAttribute("aria-valuemax", total);
  find("#bar").setAttribute("aria-valuenow", done);
  find("#bar div").style.width = `${(100 * done) / total}%`;
  find("#where").textContent = `Labeller: ${state.labeller}. Votes are saved in ${state.file}.`;
  if (pair) {
    showPrompt(pair.messages);
    setText(find("#left .text"), pair.left);
    setText(find("#right .text"), pair.right);
    window.scrollTo(0, 0);
  }
  shownAt = performance.now();
}

function mark(side) {
  for (const name of ["left", "right"]) {
    find(`#${name}`).classList.toggle("chosen", side === name);
  }
  for (const button of document.querySelectorAll(".row button")) {
    button.classList.toggle("chosen", side !== null && button.dataset.side === side);
    button.setAttribute("aria-disabled", String(isBusy || kept !== null));
  }
}

function say(text) {
  find("#said").textContent = text;
}

function showProblem(text) {
  if (text) find("#choices").hidden = false;
  find("#problem").hidden = !text;
  find("#problem p").textContent = text;
}

// ---- what is done

async function send() {
  isBusy = true;
  showProblem("");
  mark(kept && kept.side);
  try {
    const next = await ask(kept ? kept.path : "state", kept && kept.body);
    const said = kept ? kept.said : "";
    kept = null;
    isBusy = false;
    show(next);
    mark(null);
    say(next.error || said);
  } catch (error) {
    isBusy = false;
    mark(kept && kept.side);
    const what = !kept ? "" : kept.side ? " Nothing is lost: your choice is kept." : " Not undone.";
    showProblem(error.message + what);
    say("");
  }
}

function choose(side) {
  const isNew = performance.now() - shownAt < PAUSE;
  if (isBusy || kept || isNew || !state || !state.pair) return;
  const body = { pair: state.pair.id, side, vote: newId() };
  kept = { path: "vote", body, side, said: `${SAID[side]}: saved.` };
  send();
}

function undo() {
  const isNew = performance.now() - shownAt < PAUSE;
  if (isBusy || kept || isNew || !state || !state.last_vote) return;
  kept = { path: "undo", body: { vote: state.last_vote }, side: null, said: "Taken back." };
  send();
}

function again() {
  if (!isBusy && !find("#problem").hidden) send();
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (pressed in KEYS) choose(KEYS[pressed]);
  else if (pressed === "u") undo();
  else if (pressed === "r") again();
  else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll("[data-side]")) {
  button.addEventListener("click", () => choose(button.dataset.side));
}
find("#undo").addEventListener("click", undo);
find("#again").addEventListener("click", again);
window.addEventListener("hashchange", () => location.reload());
send();
