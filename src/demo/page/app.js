// The demo page: picks a source, makes the call, shows what happens.
// `?autostart=1&source=pattern` starts by itself; `window.xrtcDemo` lets tests read along.

import { Call, endpoint, written } from "./call.js";
import { testPattern } from "./pattern.js";
import { Plot } from "./plot.js";

const PAGE_PORT = Number(location.port) || (location.protocol === "https:" ? 443 : 80);
/** After this long without a connection the page says what may be wrong, in ms. */
const PATIENCE = 8000;
const LOG_LINES = 200;

const $ = (id) => document.getElementById(id);
const plots = {
  bitrate: new Plot($("bitrate"), (value) => bits(value), 100_000),
  rtt: new Plot($("rtt"), (value) => `${round(value)} ms`, 2),
};

let state = "idle";
let call = null;
let source = null;
let reading = null;
let started = 0;
let pictureAfter = null;
let waiting = null;

// Actions

async function start() {
  reset();
  setState("starting");
  const mine = new Call();
  call = mine;
  try {
    const opened = await openSource(document.querySelector("[name=source]:checked").value);
    if (call !== mine) return opened.stop();
    source = opened;
    show($("mine"), source.stream);
    listen(mine);
    setState("connecting");
    waiting = setTimeout(() => notify(unreachable()), PATIENCE);
    await mine.start(source.stream, source.codec);
  } catch (error) {
    if (call === mine) fail(error.message);
  }
}

function stop(next = "idle") {
  clearTimeout(waiting);
  call?.stop();
  source?.stop();
  call = source = null;
  for (const video of [$("mine"), $("echo")]) {
    video.srcObject = null;
    video.closest(".tile").classList.remove("live");
  }
  setState(next);
}

function fail(message) {
  notify(message, true);
  log(message, true);
  stop("failed");
}

/** The camera where there is one and it is allowed, else the test pattern with the reason why. */
async function openSource(wanted) {
  if (wanted === "pattern") return testPattern();
  if (!navigator.mediaDevices) {
    notify("No camera here: browsers offer it on https and on localhost only, and this page is neither. " +
      "Showing the test pattern instead; the call is the same.");
    return testPattern();
  }
  try {
    const video = { width: { ideal: 1280 }, height: { ideal: 720 } };
    const stream = await navigator.mediaDevices.getUserMedia({ video, audio: true });
    return { stream, stop: () => stream.getTracks().forEach((track) => track.stop()) };
  } catch (error) {
    notify(cameraRefused(error.name) + " Showing the test pattern instead; the call is the same.");
    return testPattern();
  }
}

function cameraRefused(name) {
  if (name === "NotAllowedError") return "The camera was not allowed: allow it in the address bar to use it.";
  if (name === "NotFoundError") return "This machine has no camera and microphone.";
  if (name === "NotReadableError") return "The camera is in use by another program.";
  return `The camera did not start (${name}).`;
}

function listen(mine) {
  const echo = new MediaStream();
  mine.addEventListener("log", ({ detail }) => log(detail));
  mine.addEventListener("state", ({ detail }) => connectionChanged(detail));
  mine.addEventListener("track", ({ detail }) => {
    echo.addTrack(detail);
    show($("echo"), echo);
  });
  mine.addEventListener("reading", ({ detail }) => update(detail));
}

function connectionChanged(connection) {
  log(`connection ${connection}`);
  if (connection === "connected") {
    clearTimeout(waiting);
    setState("connected");
    if ($("notice").dataset.about === "connection") notify("");
  } else if (connection === "failed") {
    fail(state === "connected" ? "The connection was lost: nothing came from xrtc for some time. Start again." : unreachable());
  } else if (connection === "disconnected") {
    setState("connecting");
  }
}

function unreachable() {
  const tried = call.offered.map(written).join(", ");
  if (!tried) return "The answer holds no candidate, so there is nowhere to send media to. Check candidate_ips in the configuration of xrtc.";
  return `Signalling works, but no media gets through. This browser tries ${tried}.\n` +
    "Check that one of these addresses is xrtc as seen from here (candidate_ips), and that its port is open for UDP " +
    "and TCP: firewall rules, and both protocols in a container's published ports.";
}

// Views

function show(video, stream) {
  video.srcObject = stream;
  video.addEventListener("playing", () => {
    video.closest(".tile").classList.add("live");
    if (video.id === "echo" && pictureAfter === null) {
      pictureAfter = performance.now() - started;
      log(`first echoed picture after ${Math.round(pictureAfter)} ms`);
    }
  }, { once: true });
  video.play().catch(() => {});
}

function update(latest) {
  reading = latest;
  const trips = call.trips;
  plots.bitrate.add(latest.time, [latest.bitrateOut, latest.bitrateIn]);
  plots.rtt.add(latest.time, [latest.rttMs, trips.last]);
  write("out", bits(latest.bitrateOut));
  write("in", bits(latest.bitrateIn));
  write("ice", ms(latest.rttMs));
  write("data", ms(trips.last));
  write("echoes", trips.count.toLocaleString("en"));
  write("trip", ms(trips.last));
  write("trip-sub", `min ${tenths(trips.least)} · avg ${tenths(trips.count ? trips.sum / trips.count : null)}`);
  write("picture", size(latest.width, latest.height));
  write("picture-sub", [fps(latest.framesPerSecond), latest.codecs.join(" + ")].filter(Boolean).join(" · ") || "no picture yet");
  write("frames", latest.framesDecoded.toLocaleString("en"));
  write("frames-sub", `${latest.framesDropped} dropped`);
  write("lost", String(latest.lostIn + latest.lostOut));
  write("lost-sub", `${latest.lostOut} out · ${latest.lostIn} in`);
  write("setup", pictureAfter === null ? "–" : `${Math.round(pictureAfter)} ms`);
  write("sent", describe(latest.sentWidth, latest.sentHeight, latest.sentFramesPerSecond));
  write("received", describe(latest.width, latest.height, latest.framesPerSecond));
  showRoute(latest);
}

function showRoute({ localCandidate, remoteCandidate }) {
  if (!remoteCandidate) return;
  const through = remoteCandidate.port === PAGE_PORT;
  const local = localCandidate?.address ? endpoint(localCandidate.address, localCandidate.port) : `port ${localCandidate?.port}`;
  write("local", local);
  const port = document.createElement("mark");
  port.textContent = `:${remoteCandidate.port}`;
  const host = endpoint(remoteCandidate.address, "").slice(0, -1);
  $("remote").replaceChildren(host, port);
  write("protocol", `ICE over ${remoteCandidate.protocol.toUpperCase()}`);
  write("verdict", through ? `✓ all media through port ${PAGE_PORT}` : `not this page's port (${PAGE_PORT}): media takes a port of its own`);
  $("proxy").className = `node proxy ${through ? "good" : "bad"}`;
}

function reset() {
  started = performance.now();
  reading = pictureAfter = null;
  notify("");
  $("log").replaceChildren();
  for (const id of ["out", "in", "ice", "data", "echoes", "trip", "picture", "frames", "lost", "setup", "local", "remote", "protocol"]) write(id, "–");
  write("verdict", "not connected yet");
  $("proxy").className = "node proxy";
  Object.values(plots).forEach((plot) => plot.clear());
}

const LABELS = { idle: "ready", starting: "starting", connecting: "connecting", connected: "connected", failed: "failed" };

function setState(next) {
  state = next;
  const running = ["starting", "connecting", "connected"].includes(next);
  document.body.dataset.state = next;
  write("state", LABELS[next]);
  write("toggle", running ? "End call" : "Start call");
  document.querySelector(".choice").disabled = running;
}

function notify(message, bad = false) {
  const notice = $("notice");
  notice.textContent = message;
  notice.hidden = !message;
  notice.dataset.about = ["connecting", "connected"].includes(state) ? "connection" : "source";
  notice.classList.toggle("bad", bad);
}

function log(message, bad = false) {
  const time = document.createElement("time");
  time.textContent = `+${((performance.now() - started) / 1000).toFixed(2)} s`;
  const line = document.createElement("li");
  line.append(time, message);
  line.classList.toggle("bad", bad);
  const list = $("log");
  list.append(line);
  while (list.childElementCount > LOG_LINES) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}

// Writing figures

function write(id, text) {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
}

const round = (value) => (value < 10 ? Number(value.toFixed(1)) : Math.round(value));
// Chromium counts ICE round trips in whole milliseconds, Firefox everything: a 0 is less than one.
const ms = (value) => (value == null ? "–" : value === 0 ? "< 1 ms" : `${tenths(value)} ms`);
const tenths = (value) => (value == null ? "–" : value < 100 ? value.toFixed(1) : String(Math.round(value)));
const fps = (value) => (value == null ? "" : `${Math.round(value)} fps`);
const size = (width, height) => (width ? `${width}×${height}` : "–");
const describe = (width, height, rate) => (width ? [size(width, height), fps(rate)].filter(Boolean).join(" · ") : "");

function bits(value) {
  if (value == null) return "–";
  return value >= 999_500 ? `${(value / 1e6).toFixed(1)} Mb/s` : `${Math.round(value / 1000)} kb/s`;
}

// Wiring

$("toggle").addEventListener("click", () => (call ? stop() : start()));
$("sound").addEventListener("click", () => {
  const echo = $("echo");
  echo.muted = !echo.muted;
  write("sound", echo.muted ? "Sound off" : "Sound on");
  $("sound").setAttribute("aria-pressed", String(!echo.muted));
});
addEventListener("pagehide", () => call?.stop());

for (const element of document.querySelectorAll(".port")) element.textContent = String(PAGE_PORT);

window.xrtcDemo = {
  get state() {
    return state;
  },
  /** The latest reading, at most a second old; the figures of the data channel are of this moment. */
  stats() {
    return {
      ...reading,
      connectionState: state,
      dataEchoes: call?.trips.count ?? 0,
      dataRttMs: call?.trips.last ?? null,
      pagePort: PAGE_PORT,
      framesDecoded: reading?.framesDecoded ?? 0,
      localCandidate: reading?.localCandidate ?? null,
      remoteCandidate: reading?.remoteCandidate ?? null,
      rttMs: reading?.rttMs ?? null,
    };
  },
};

const query = new URLSearchParams(location.search);
const wanted = document.querySelector(`[name=source][value="${query.get("source") === "pattern" ? "pattern" : "camera"}"]`);
wanted.checked = true;
if (query.get("autostart") === "1") start();
