// The chat on the machine's page: people who do not look at the screen are reached too.

import { Chat } from "./room/chat.js";
import { place } from "./room/dom.js";
import { Room } from "./room/room.js";

const facts = JSON.parse(place("chat-facts").textContent);
const room = new Room(facts);
let seen = false;
const chat = new Chat(room, place("chat-here"), () => seen);
new IntersectionObserver(([one]) => {
    seen = one.isIntersecting;
    chat.look();
}).observe(place("chat-here"));
chat.addEventListener("unread", ({ detail }) => {
    place("chat-unread").hidden = !detail;
    place("chat-unread").textContent = detail;
});
