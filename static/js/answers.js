// Forms whose answer is JSON: {"ok": true}, or a sentence and the field at fault.

/** Says in `place` and at the field why not; nothing where it was done. */
export const show = (place, told, form) => {
    form.querySelector("[aria-invalid]")?.removeAttribute("aria-invalid");
    place.replaceChildren(...(told.ok ? [] : [Object.assign(document.createElement("li"), { textContent: told.error })]));
    const field = told.field && form.querySelector(`[name="${told.field}"]:not([type=hidden])`);
    field?.setAttribute("aria-invalid", "true");
    field?.focus();
};

/** What the site answers; nothing where the page loads again, because the sign-in has ended. */
export async function send(form, body) {
    try {
        const answer = await fetch(form.action, { method: "POST", body });
        if (!answer.headers.get("Content-Type")?.includes("json")) return location.reload();
        return await answer.json();
    } catch {
        return { error: document.body.dataset.failed };
    }
}

/** Sends the form of this submit event; why not is said in `place`. True when it was done. */
export async function submit(event, place) {
    event.preventDefault();
    const form = event.target;
    const told = await send(form, new URLSearchParams(new FormData(form, event.submitter)));
    form.elements.confirmed?.remove();
    if (told) show(place, told, form);
    return Boolean(told?.ok);
}

/** Forget what was said before. */
export const clear = (form) => show(form.querySelector("[data-error]"), { ok: true }, form);
