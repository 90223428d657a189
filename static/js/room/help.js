// The owner's call for help: one press, a message, and who comes is seen at the upper edge.

import { place } from "./dom.js";

export class Help {
    constructor(room, toast) {
        Object.assign(this, { room, toast, dialog: place("calling"), error: place("calling-error") });
        place("call").addEventListener("click", () => this.#open());
        place("calling-no").addEventListener("click", () => this.dialog.close());
        place("calling-form").addEventListener("submit", (event) => this.#send(event));
        room.addEventListener("change", () => (place("call").hidden = !room.owns));
    }

    #open() {
        if (this.room.facts?.help) return this.toast(this.room.words.helpCalled);
        this.error.textContent = "";
        return this.dialog.showModal();
    }

    async #send(event) {
        event.preventDefault();
        const answer = await this.room.post("help/", { message: place("calling-text").value });
        this.error.textContent = answer.ok ? "" : answer.error;
        if (!answer.ok) return;
        place("calling-text").value = "";
        this.dialog.close();
        this.toast(this.room.words.helpCalled);
        this.room.refresh();
    }
}
