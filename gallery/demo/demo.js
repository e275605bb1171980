// Each frame shows the photo to the left of a line and the result to its right; a range moves it.
for (const frame of document.querySelectorAll(".frame")) {
  const range = frame.querySelector("input");
  const [left, right] = frame.querySelectorAll(".tag");
  const move = () => {
    frame.style.setProperty("--at", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % ${left.textContent}`);
    left.classList.toggle("gone", range.value < 12);
    right.classList.toggle("gone", range.value > 88);
  };
  range.addEventListener("input", move);
  move();
}
