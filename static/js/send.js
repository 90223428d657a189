// A page that is only a step on the way sends its form by itself; without scripts its button does.
document.getElementById("send").submit();
