// The page that a link leads to. The secret stands behind the #, which reaches no server; it waits in this tab while
// the person signs in, is taken out of the address bar, and goes to the server in the body of a POST alone.

const page = document.getElementById("join");
const found = document.getElementById("join-found");
const lost = document.getElementById("join-lost");
const kept = `visa-join:${location.pathname}`;

if (location.hash.length > 1) {
    sessionStorage.setItem(kept, location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
}
const secret = sessionStorage.getItem(kept);

const say = (sentence) => {
    sessionStorage.removeItem(kept);
    document.getElementById("join-wait").hidden = found.hidden = true;
    lost.hidden = false;
    lost.querySelector("h1").textContent = sentence;
};

async function ask(act) {
    const body = new URLSearchParams(new FormData(found.querySelector("form")));
    body.set("act", act);
    body.set("secret", secret);
    const answer = await fetch(location.pathname, { method: "POST", body });
    return answer.json();
}

async function look() {
    const told = await ask("look");
    if (!told.ok) return say(told.error);
    for (const place of found.querySelectorAll("[data-fill]")) {
        place.textContent = told[place.dataset.fill];
        place.hidden = !place.textContent;
    }
    document.getElementById("join-wait").hidden = true;
    found.hidden = false;
    found.querySelector("button").focus();
}

found.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
        const told = await ask("join");
        if (!told.ok) return say(told.error);
        sessionStorage.removeItem(kept);
        location.assign(told.desktop);
    } catch {
        document.dispatchEvent(new CustomEvent("visa:say", { detail: document.body.dataset.failed }));
    }
});

if (!secret) {
    say(page.dataset.incomplete);
    document.getElementById("join-sign-in")?.remove();
} else if ("signedIn" in page.dataset) {
    look().catch(() => say(document.body.dataset.failed));
} else {
    location.replace(page.dataset.signIn);
}
