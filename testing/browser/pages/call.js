// One call through the stock janus.js, as the tests ask for it: `window.lab` is all that they use.
//
// `lab.start({server, kind, mountpoint, room, ssltcp})` resolves once the PeerConnection is connected; `lab.stats()`
// says what the browser itself reports of it. Nothing here knows that there is a proxy.

const SAMPLE_MS = 50;
const CONNECT_MS = 20_000;

const kinds = {
  // The client offers: camera, microphone and a data channel, all of them echoed.
  echo: {
    plugin: "janus.plugin.echotest",
    begin: (handle) =>
      handle.createOffer({
        tracks: [
          { type: "audio", capture: true, recv: true },
          { type: "video", capture: true, recv: true },
          { type: "data" },
        ],
        success: (jsep) => handle.send({ message: { audio: true, video: true }, jsep }),
        error: fail,
      }),
    accept: (handle, jsep) => handle.handleRemoteJsep({ jsep, error: fail }),
    say: (text) => text,
  },
  // The server offers: a video mountpoint.
  stream: {
    plugin: "janus.plugin.streaming",
    begin: (handle, { mountpoint }) => handle.send({ message: { request: "watch", id: mountpoint } }),
    accept: (handle, jsep) => answer(handle, jsep, { request: "start" }),
  },
  // The server offers: nothing but a data channel, over which one joins a room and says something.
  textroom: {
    plugin: "janus.plugin.textroom",
    begin: (handle) => handle.send({ message: { request: "setup" } }),
    accept: (handle, jsep) => answer(handle, jsep, { request: "ack" }),
    opened: (handle, { room }) => sendData(handle, { textroom: "join", room, username: `guest-${tag()}` }),
    say: (text, { room }) => JSON.stringify({ textroom: "message", transaction: tag(), room, text }),
  },
};

const lab = {
  start,
  stats,
  gap,
  hangUp,
  echo,
  now: () => performance.now(),
  /** Every session description and candidate that the page was given, as text. */
  received: [],
};
window.lab = lab;

let options;
let kind;
let janus;
let handle;
let onFailure;
let dataOpen = false;
const heard = [];
/** When `framesDecoded` was seen to have grown, and when `packetsReceived`. */
const growth = { frames: [], packets: [] };

record("setRemoteDescription", (description) => description?.sdp);
record("addIceCandidate", (candidate) => candidate?.candidate);

async function start(requested) {
  options = requested;
  if (options.ssltcp) preferSslTcp();
  kind = kinds[options.kind];
  await new Promise((callback) => Janus.init({ debug: ["error", "warn"], callback }));
  const connected = new Promise((resolve, reject) => {
    onFailure = (what) => reject(new Error(String(what)));
    setTimeout(() => fail(`not connected after ${CONNECT_MS} ms: ${state()}`), CONNECT_MS);
    janus = new Janus({
      server: options.server,
      iceServers: [],
      destroyOnUnload: false,
      success: () => attach(resolve),
      error: fail,
    });
  });
  await connected;
  setInterval(sample, SAMPLE_MS);
}

function attach(resolve) {
  janus.attach({
    plugin: kind.plugin,
    success: (attached) => {
      handle = attached;
      kind.begin(handle, options);
    },
    error: fail,
    onmessage: (message, jsep) => {
      if (message.error) fail(message.error);
      if (jsep) kind.accept(handle, jsep);
    },
    webrtcState: (up) => up && resolve(),
    onremotetrack: (track, _mid, on) => {
      const video = document.getElementById("remote");
      if (on && track.kind === "video") video.srcObject = new MediaStream([track]);
    },
    ondataopen: () => {
      dataOpen = true;
      kind.opened?.(handle, options);
    },
    ondata: (text) => heard.push(text),
  });
}

function answer(handle, jsep, message) {
  handle.createAnswer({
    jsep,
    tracks: [{ type: "data" }],
    success: (local) => handle.send({ message, jsep: local }),
    error: fail,
  });
}

/** Says something over the data channel; true once it has come back. */
async function echo(withinMs) {
  const deadline = performance.now() + withinMs;
  const text = `echo ${tag()}`;
  while (performance.now() < deadline) {
    // Said again until heard: a room forgets what is said before one has joined it.
    if (dataOpen) handle.data({ data: kind.say(text, options), error: fail });
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (heard.some((said) => said.includes(text))) return true;
  }
  return false;
}

async function stats() {
  return { ...(await peerStats(peer())), state: state(), received: lab.received };
}

/**
 * The longest times without a new picture and without a packet since `since` (`lab.now()` then), each
 * `{gapMs, resumedMs, healthy}` in milliseconds after `since`. `healthy` means that the longest one is over.
 */
function gap(since) {
  return { frames: longestGap(growth.frames, since), packets: longestGap(growth.packets, since) };
}

function longestGap(times, since) {
  const now = performance.now();
  const marks = [since, ...times.filter((at) => at > since), now];
  let longest = { gapMs: 0, resumedMs: 0 };
  for (let i = 1; i < marks.length; i += 1) {
    const gapMs = marks[i] - marks[i - 1];
    if (gapMs >= longest.gapMs) longest = { gapMs, resumedMs: marks[i] - since };
  }
  return { ...longest, healthy: longest.resumedMs < now - since };
}

async function hangUp() {
  await new Promise((resolve) => janus.destroy({ success: resolve, error: resolve, cleanupHandles: true }));
}

async function sample() {
  const all = [...(await peer().getStats()).values()];
  const now = { frames: inbound(all, "video", "framesDecoded"), packets: inbound(all, "video", "packetsReceived") };
  for (const what of Object.keys(now)) {
    if (now[what] > sample.last[what]) growth[what].push(performance.now());
  }
  sample.last = now;
}
sample.last = { frames: 0, packets: 0 };

function peer() {
  return handle.webrtcStuff.pc;
}

function state() {
  const pc = handle?.webrtcStuff.pc;
  if (!pc) return handle ? "attached, no PeerConnection" : "not attached";
  return `${pc.connectionState} (ICE ${pc.iceConnectionState}, signalling ${pc.signalingState})`;
}

function fail(what) {
  console.error(`call failed: ${what}`);
  onFailure?.(what);
}

function sendData(handle, message) {
  handle.data({ data: JSON.stringify({ transaction: tag(), ...message }), error: fail });
}

function tag() {
  return Math.random().toString(36).slice(2);
}

/** Of what the server offers only TCP is left, and that behind the fake SSL handshake of libwebrtc. */
function preferSslTcp() {
  const original = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }, ...rest) {
    const changed = sdp
      .replace(/^a=candidate:\S+ \d+ udp .*\r\n/gim, "")
      .replace(/^(a=candidate:\S+ \d+) tcp /gim, "$1 ssltcp ");
    return original.call(this, { type, sdp: changed }, ...rest);
  };
}

function record(method, text) {
  const original = RTCPeerConnection.prototype[method];
  RTCPeerConnection.prototype[method] = function (argument, ...rest) {
    const given = text(argument);
    if (given) lab.received.push(given);
    return original.call(this, argument, ...rest);
  };
}
