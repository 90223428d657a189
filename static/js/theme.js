// Runs before the page is drawn, so that a remembered theme does not flash.
(() => {
    const theme = localStorage.getItem("visa-theme");
    if (theme === "dark" || theme === "light") {
        document.documentElement.dataset.theme = theme;
    }
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (zone && !document.cookie.includes(`visa-zone=${encodeURIComponent(zone)}`)) {
        document.cookie = `visa-zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;
    }
})();
