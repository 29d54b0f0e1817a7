// A drawn source for machines without a camera: colour bars, a running clock and a pip every second.
// The clock is in the picture so that one sees the delay of the echo beside it.

const WIDTH = 960;
const HEIGHT = 540;
const FRAMES_PER_SECOND = 30;
const BARS = ["#d7dbe6", "#e3c53d", "#38c6d9", "#3fbf6b", "#c454d6", "#e2504f", "#4567e8"];

/**
 * Starts the pattern. `stop()` ends it and its tracks.
 *
 * Chromium encodes a canvas in full-range colours. It says so in the H.264 bitstream, but for VP8 only in an RTP
 * header extension that str0m does not carry: the echo would come back with more contrast than the original.
 */
export function testPattern() {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext("2d", { alpha: false });
  const started = performance.now();
  const paint = () => draw(context, performance.now() - started);
  paint();
  // A timer, not an animation frame: the call must go on while the page is hidden.
  const timer = setInterval(paint, 1000 / FRAMES_PER_SECOND);
  const stream = canvas.captureStream(FRAMES_PER_SECOND);
  const tone = startTone();
  if (tone) stream.addTrack(tone.track);
  return {
    stream,
    codec: "H264",
    stop() {
      clearInterval(timer);
      tone?.close();
      for (const track of stream.getTracks()) track.stop();
    },
  };
}

function draw(context, elapsed) {
  const seconds = elapsed / 1000;
  const bar = WIDTH / BARS.length;
  BARS.forEach((colour, i) => {
    context.fillStyle = colour;
    context.fillRect(Math.floor(i * bar), 0, Math.ceil(bar), HEIGHT * 0.68);
  });
  context.fillStyle = "#10131d";
  context.fillRect(0, HEIGHT * 0.68, WIDTH, HEIGHT * 0.32);
  drawRamp(context, seconds);
  drawDial(context, WIDTH / 2, HEIGHT * 0.4, 148, seconds);
}

// Grey steps that wander: motion over the whole width keeps the encoder at work.
function drawRamp(context, seconds) {
  const step = WIDTH / 24;
  const shift = (seconds * 48) % step;
  for (let i = -1; i < 25; i++) {
    const level = 18 + ((i + 1 + Math.floor((seconds * 48) / step)) % 12) * 6;
    context.fillStyle = `rgb(${level} ${level + 3} ${level + 12})`;
    context.fillRect(i * step + shift, HEIGHT * 0.68, step + 1, HEIGHT * 0.055);
  }
}

function drawDial(context, x, y, radius, seconds) {
  const turn = (seconds % 1) * 2 * Math.PI - Math.PI / 2;
  context.fillStyle = "#10131df2";
  disc(context, x, y, radius);
  context.lineWidth = 9;
  context.lineCap = "round";
  context.strokeStyle = "#2a3146";
  ring(context, x, y, radius - 17, 0, 2 * Math.PI);
  context.strokeStyle = "#8b7dff";
  ring(context, x, y, radius - 17, -Math.PI / 2, turn);
  context.fillStyle = "#2dd4a7";
  disc(context, x + Math.cos(turn) * (radius - 17), y + Math.sin(turn) * (radius - 17), 11);
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = "#ffffff";
  context.font = "600 58px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
  context.fillText(seconds.toFixed(2).padStart(6, "0"), x, y - 8);
  context.fillStyle = "#9aa3ba";
  context.font = "500 21px ui-sans-serif, system-ui, sans-serif";
  context.fillText("xrtc test pattern", x, y + 45);
}

function disc(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function ring(context, x, y, radius, from, to) {
  context.beginPath();
  context.arc(x, y, radius, from, to);
  context.stroke();
}

/** A soft pip at every full second, or nothing where the browser has no Web Audio. */
function startTone() {
  if (!window.AudioContext) return null;
  const audio = new AudioContext();
  const output = audio.createMediaStreamDestination();
  const oscillator = audio.createOscillator();
  const gain = audio.createGain();
  gain.gain.value = 0;
  oscillator.frequency.value = 880;
  oscillator.connect(gain).connect(output);
  oscillator.start();
  const pip = setInterval(() => {
    gain.gain.setTargetAtTime(0.12, audio.currentTime, 0.01);
    gain.gain.setTargetAtTime(0, audio.currentTime + 0.08, 0.02);
  }, 1000);
  return {
    track: output.stream.getAudioTracks()[0],
    close() {
      clearInterval(pip);
      audio.close();
    },
  };
}
