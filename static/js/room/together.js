// Being at one screen together: joins what the other files of this folder do to the page of the desktop.

import { Banner } from "./banner.js";
import { Chat } from "./chat.js";
import { place } from "./dom.js";
import { Door } from "./door.js";
import { Drawer } from "./drawer.js";
import { Help } from "./help.js";
import { Ink } from "./ink.js";
import { Control, People, Settings } from "./people.js";
import { Pointers } from "./pointers.js";
import { Requests } from "./requests.js";
import { Room } from "./room.js";
import { Stage } from "./stage.js";
import { Tools } from "./tools.js";

const QUALITY_EVERY = 5000; // ms

export function together(facts, link, meter, backToWork, toast) {
    const room = new Room(facts);
    const drawer = new Drawer(backToWork);
    const chat = new Chat(room, place("panel-chat"), () => drawer.tab === "chat");
    const control = new Control(room, place("panel-people"));
    const people = new People(room, place("panel-people"));
    new Settings(room, place("panel-people"));
    new Banner(room, control);
    new Door(room, link, facts.supportMinutes);
    new Help(room, toast);
    const stage = new Stage(link);
    const pointers = new Pointers(room, stage);
    new Tools(room, stage, pointers, new Ink(room, stage), backToWork);
    const requests = new Requests(room);

    const obey = () => link.rfb && (link.rfb.viewOnly = Boolean(room.me.role) && !room.controls);
    room.addEventListener("change", obey);
    link.addEventListener("connect", obey);
    room.addEventListener("refused", ({ detail }) => toast(detail));
    room.addEventListener("instance", () => link.now());
    room.addEventListener("line", ({ detail }) => detail && link.now());

    room.addEventListener("change", () => badge("people", requests.count, room.people.length));
    room.addEventListener("change", () => chatIsOffered(room, drawer));
    chat.addEventListener("unread", ({ detail }) => badge("chat", detail));
    chat.addEventListener("news", ({ detail }) => toast(`${detail.who?.name ?? facts.words.somebody}: ${detail.text.slice(0, 80)}`));
    drawer.addEventListener("show", ({ detail }) => detail === "chat" && chat.show());
    setInterval(() => link.up && meter.trip !== null && tellQuality(room, people, Math.round(meter.trip)), QUALITY_EVERY);
    return { room, drawer, requests };
}

function tellQuality(room, people, ms) {
    people.measured(room.me.id, ms);
    if (room.people.length > 1) room.say("quality", { ms });
}

/** A number beside a tool and its tab: what waits, else how many there are. */
function badge(name, waits, total = 0) {
    for (const mark of document.querySelectorAll(`[data-badge=${name}]`)) {
        mark.textContent = waits || total || "";
        mark.classList.toggle("waits", waits > 0);
    }
    place("handle").classList.toggle("waits", Boolean(document.querySelector("#bar .waits")));
}

function chatIsOffered(room, drawer) {
    const may = Boolean(room.me.chats);
    place("open-chat").hidden = place("tab-chat").hidden = !may;
    if (!may && drawer.tab === "chat") drawer.open("people");
}
