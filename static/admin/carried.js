// While an image is on its way to a host, its table renews itself.
const EVERY = 2000; // milliseconds

async function follow() {
    for (let table = document.getElementById("carried"); table?.dataset.moving !== undefined; ) {
        await new Promise((resolve) => setTimeout(resolve, EVERY));
        const answer = await fetch(location.pathname);
        if (!answer.ok) continue;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("carried");
        if (!fresh) return;
        table.replaceWith(fresh);
        table = fresh;
    }
}

document.addEventListener("DOMContentLoaded", follow);
