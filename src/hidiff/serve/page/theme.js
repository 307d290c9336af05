// Light or dark: as the system has it, until somebody chooses.

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

function apply() {
  root.dataset.theme = localStorage.getItem("hidiff-theme") ?? (dark.matches ? "dark" : "light");
}

dark.addEventListener("change", apply);
document.getElementById("theme").onclick = () => {
  localStorage.setItem("hidiff-theme", root.dataset.theme === "dark" ? "light" : "dark");
  apply();
};
apply();
