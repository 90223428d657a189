// A machine's files: the folder that is shown, what is chosen in it, and what is done with it.

import { AGAIN, Refused, SHUT, address, ask, at, change, facts, join, keyOf, size, words } from "./api.js";
import { moment } from "../room/dom.js";
import { uploadDropped, uploadFiles } from "./uploads.js";

const place = (id) => document.getElementById(id);
let folder = ""; // the key of what is shown
let entries = [];
let timer = 0;

// Trouble
const trouble = (error) => {
    clearTimeout(timer);
    const what = error instanceof Refused ? SHUT[error.code] : "lost";
    place("trouble").textContent = what ? words[what] : error.message;
    place("trouble").hidden = false;
    if (what === "signedOut") {
        const link = Object.assign(document.createElement("a"), { href: facts.signIn, textContent: words.signIn });
        place("trouble").append(" ", link);
    }
    if (AGAIN[what]) timer = setTimeout(() => show(folder || hashed()), AGAIN[what] * 1000);
};
const attempt = async (work) => {
    try {
        await work();
    } catch (error) {
        trouble(error);
    }
};

// The listing
const icon = (kind) => place("icons").content.querySelector(`[data-kind="${kind}"]`).cloneNode(true);
const cell = (name, ...content) => {
    const made = document.createElement("td");
    made.className = name;
    made.append(...content);
    return made;
};
const row = (entry) => {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: entry.key });
    box.setAttribute("aria-label", words.choose.replace("%s", entry.name));
    const label = document.createElement("label");
    label.append(box);
    const open = Object.assign(document.createElement("button"), { type: "button", textContent: entry.name });
    open.addEventListener("click", () => (entry.kind === "folder" ? go(join(folder, entry.key)) : look(entry)));
    open.disabled = entry.kind === "other";
    const name = document.createElement("div");
    name.append(icon(entry.kind), open);
    const made = document.createElement("tr");
    made.dataset.key = entry.key;
    const changed = entry.modified ? moment(entry.modified * 1000) : "";
    made.append(cell("pick", label), cell("name", name), cell("size", entry.kind === "file" ? size(entry.size) : ""), cell("when", changed));
    return made;
};
const step = (one, current) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: one.name });
    button.addEventListener("click", () => go(one.key));
    if (current) button.setAttribute("aria-current", "location");
    return button;
};
// Whoever is amid the list stays there while it comes anew.
const held = () => {
    const at = document.activeElement;
    const rows = [...place("rows").children];
    const ticked = new Set(chosen().map((entry) => entry.key));
    const row = at.closest("#rows tr") ?? (place("acts").contains(at) ? rows.find((one) => ticked.has(one.dataset.key)) : null);
    return { ticked, index: rows.indexOf(row), key: row?.dataset.key, kind: at.matches("input") ? "input" : "button" };
};
const resume = ({ ticked, index, key, kind }) => {
    const rows = [...place("rows").children];
    for (const one of rows) one.querySelector("input").checked = ticked.has(one.dataset.key);
    chosenChanged();
    if (index < 0 || (!place("acts").hidden && place("acts").contains(document.activeElement))) return;
    const next = rows.find((one) => one.dataset.key === key) ?? rows[Math.min(index, rows.length - 1)];
    (next?.querySelector(kind) ?? place("steps").querySelector("[aria-current]"))?.focus();
};
const draw = (said) => {
    const before = said.path === folder ? held() : { ticked: new Set(), index: -1 };
    folder = said.path;
    entries = said.entries;
    place("files").classList.toggle("looks", !said.writes);
    const [home] = said.roots;
    const named = (one) => (one.key === home.key ? { ...one, name: words.home } : one);
    const items = said.steps.map((one, at) => {
        const item = document.createElement("li");
        item.append(step(named(one), at === said.steps.length - 1));
        return item;
    });
    place("steps").replaceChildren(...items);
    const roots = said.roots.length > 1 ? said.roots : [];
    place("roots").replaceChildren(
        ...roots.map((one) => {
            const button = step(named(one), one.key === said.steps[0].key);
            button.className = "button";
            return button;
        }),
    );
    place("where").textContent = named(said.steps.at(-1)).name;
    place("rows").replaceChildren(...entries.map(row));
    place("list").hidden = entries.length === 0;
    place("note").textContent = entries.length ? (said.more ? words.more.replace("%s", entries.length) : "") : words.empty;
    place("trouble").hidden = true;
    place("all").checked = false;
    resume(before);
};
let turn = 0; // of several answers the last one asked for counts
const show = async (key) => {
    clearTimeout(timer);
    const mine = ++turn;
    try {
        const said = await (await ask(at.list, key ? { path: key } : {})).json();
        if (mine === turn) draw(said);
    } catch (error) {
        if (mine === turn) trouble(error);
    }
};
const hashed = () => location.hash.slice(1);
const go = (key) => (location.hash === `#${key}` ? show(key) : (location.hash = key));
addEventListener("hashchange", async () => {
    await show(hashed());
    place("told").textContent = place("where").textContent;
    place("steps").querySelector("[aria-current]")?.focus();
});
const changed = (where) => {
    if (where === folder) show(folder);
};

// What is chosen
const chosen = () => {
    const keys = new Set([...place("rows").querySelectorAll("input:checked")].map((box) => box.value));
    return entries.filter((entry) => keys.has(entry.key));
};
const chosenChanged = () => {
    const count = chosen().length;
    place("acts").hidden = count === 0;
    place("count").textContent = words.chosen.replace("%s", count);
    place("rename").disabled = count !== 1;
};
place("rows").addEventListener("change", chosenChanged);
place("all").addEventListener("change", () => {
    for (const box of place("rows").querySelectorAll("input")) box.checked = place("all").checked;
    chosenChanged();
});

// Questions
const dialog = place("ask");
const question = ({ title, loss = "", yes, text = null, danger = false }) => {
    place("ask-title").textContent = place("ask-label").textContent = title;
    place("ask-loss").textContent = loss;
    place("ask-text").hidden = text === null;
    place("ask-text").required = text !== null;
    place("ask-text").value = text ?? "";
    place("ask-yes").textContent = yes;
    place("ask-yes").className = `button ${danger ? "danger" : "primary"}`;
    dialog.returnValue = "no";
    dialog.showModal();
    if (text !== null) place("ask-text").select();
    return new Promise((done) => {
        const answered = () => done(dialog.returnValue === "yes" ? place("ask-text").value || true : null);
        dialog.addEventListener("close", answered, { once: true });
    });
};
// Enter in the field means yes, though "no" is the first button
place("ask-text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (place("ask-text").value) dialog.close("yes");
});
const readable = (key) => {
    try {
        return decodeURIComponent(key);
    } catch {
        return ""; // no UTF-8: the person writes where to
    }
};
const named = (list) => (list.length === 1 ? list[0].name : String(list.length));

// What was chosen stays what is meant, wherever one goes meanwhile; and what was done of it is seen, also where it ends.
const each = (here, list, work, said) =>
    attempt(async () => {
        try {
            for (const entry of list) await work(entry);
            place("told").textContent = said;
        } finally {
            if (here === folder) await show(here);
        }
    });
place("new-folder").addEventListener("click", async () => {
    const here = folder;
    const name = await question({ title: words.newFolder, yes: words.make, text: "" });
    if (!name) return;
    await each(here, [name], () => change({ act: "folder", path: here, name: keyOf(name) }), words.made.replace("%s", name));
});
place("rename").addEventListener("click", async () => {
    const [here, [entry]] = [folder, chosen()];
    const name = await question({ title: words.newName.replace("%s", entry.name), yes: words.rename, text: entry.name });
    if (!name || name === entry.name) return;
    const work = () => change({ act: "rename", path: join(here, entry.key), name: keyOf(name) });
    await each(here, [entry], work, words.renamed.replace("%s", name));
});
place("move").addEventListener("click", async () => {
    const [here, list] = [folder, chosen()];
    const to = await question({ title: words.moveTo.replace("%s", named(list)), yes: words.move, text: readable(here) });
    if (!to) return;
    const target = to.split("/").map(keyOf).join("/");
    const work = (entry) => change({ act: "move", path: join(here, entry.key), to: target });
    await each(here, list, work, words.moved.replace("%s", named(list)));
});
place("delete").addEventListener("click", async () => {
    const [here, list] = [folder, chosen()];
    const title = (list.length === 1 ? words.sureOne : words.sureMany).replace("%s", named(list));
    if (!(await question({ title, loss: words.loss, yes: words.delete, danger: true }))) return;
    const work = (entry) => change({ act: "delete", path: join(here, entry.key) });
    await each(here, list, work, words.deleted.replace("%s", named(list)));
});

// Downloads: a press of a link, so that the browser shows what it fetches
const save = (entry) => {
    const whole = entry.kind === "folder" ? at.zip : at.get;
    const link = Object.assign(document.createElement("a"), { href: address(whole, { path: join(folder, entry.key) }), download: "" });
    link.click();
};
place("download").addEventListener("click", () => chosen().filter((entry) => entry.kind !== "other").forEach(save));

// Looking into a file
const look = (entry) =>
    attempt(async () => {
        const path = join(folder, entry.key);
        const answer = await ask(at.preview, { path });
        place("preview-title").textContent = entry.name;
        place("preview-body").innerHTML = await answer.text(); // our own template: nothing of the file is markup in it
        place("preview-download").href = address(at.get, { path });
        place("preview").showModal();
    });
place("preview-close").addEventListener("click", () => place("preview").close());

// Uploads
place("pick").addEventListener("click", () => place("picked").click());
place("picked").addEventListener("change", () => {
    uploadFiles(place("picked").files, folder, changed);
    place("picked").value = "";
});
const panel = place("files");
const takes = (event) => event.dataTransfer.types.includes("Files") && !panel.classList.contains("looks");
for (const name of ["dragenter", "dragover"]) {
    panel.addEventListener(name, (event) => {
        if (!takes(event)) return;
        event.preventDefault();
        panel.classList.add("over");
    });
}
panel.addEventListener("dragleave", (event) => panel.contains(event.relatedTarget) || panel.classList.remove("over"));
panel.addEventListener("drop", (event) => {
    if (!takes(event)) return;
    event.preventDefault();
    panel.classList.remove("over");
    attempt(() => uploadDropped(event.dataTransfer, folder, changed));
});

if (facts.closed) {
    place("trouble").textContent = words.closed;
    place("trouble").hidden = false;
} else {
    show(hashed());
}
