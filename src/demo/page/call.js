// One call to the echo server: WHIP-like signalling, a data channel that measures round trips, readings.
// No trickle and no waiting for candidates: the server learns this browser's address from its ICE checks.

import { read } from "./stats.js";

const PING_INTERVAL = 500;
const READ_INTERVAL = 1000;
/** Pings that may be unanswered; older ones are given up, so that a stalled call does not grow. */
const PENDING_PINGS = 64;
/** How long hanging up may take before the connection is closed all the same, in ms. */
const FAREWELL = 1000;

/** Sends `state`, `log`, `track` and `reading` events; each carries its value in `detail`. */
export class Call extends EventTarget {
  #connection = new RTCPeerConnection();
  #resource = null;
  #timers = [];
  #pings = new Map();
  #sequence = 0;
  #previous = null;
  #closed = false;
  /** Round trips over the data channel, in ms. */
  trips = { count: 0, last: null, least: null, sum: 0 };
  /** The candidates that the answer offered, for messages about a call that does not connect. */
  offered = [];

  /** Calls with the tracks of `stream`; `codec` names the only video codec to offer, if any. */
  async start(stream, codec) {
    const connection = this.#connection;
    connection.addEventListener("connectionstatechange", () => this.#tell("state", connection.connectionState));
    connection.addEventListener("iceconnectionstatechange", () => this.#tell("log", `ICE ${connection.iceConnectionState}`));
    connection.addEventListener("track", ({ track }) => this.#tell("track", track));
    for (const track of stream.getTracks()) connection.addTrack(track, stream);
    if (codec) restrict(connection, codec);
    this.#openChannel();
    await connection.setLocalDescription(await connection.createOffer());
    this.#tell("log", "offer sent");
    const answer = await this.#post(connection.localDescription.sdp);
    if (this.#closed) return;
    this.offered = [...answer.matchAll(/^a=candidate:\S+ 1 (\S+) \d+ (\S+) (\d+)/gm)].map(([, protocol, address, port]) => ({
      protocol: protocol.toLowerCase(), address, port: Number(port),
    }));
    this.#tell("log", `answer received, candidates: ${this.offered.map(written).join(", ") || "none"}`);
    await connection.setRemoteDescription({ type: "answer", sdp: answer });
    this.#timers.push(setInterval(() => this.#read(), READ_INTERVAL));
  }

  /** Ends the call on both sides. Safe while the page goes away. */
  stop() {
    this.#closed = true;
    this.#timers.forEach(clearInterval);
    const resource = this.#resource;
    this.#resource = null;
    if (!resource) return this.#connection.close();
    // The server first: it ends the call by itself once the connection closes, and then knows it no more.
    const signal = AbortSignal.timeout(FAREWELL);
    fetch(resource, { method: "DELETE", keepalive: true, signal }).catch(() => {}).finally(() => this.#connection.close());
  }

  async #post(offer) {
    let response;
    try {
      response = await fetch("echo", { method: "POST", headers: { "content-type": "application/sdp" }, body: offer });
    } catch {
      throw new Error("The signalling request did not get through. Is xrtc still running?");
    }
    const body = await response.text();
    if (response.status !== 201) {
      throw new Error(`The echo server answered ${response.status}: ${body.trim().slice(0, 300) || response.statusText}`);
    }
    const location = response.headers.get("location");
    this.#resource = location && new URL(location, response.url);
    // Stopped while the answer was under way: there is a call now that nobody wants.
    if (this.#closed) this.stop();
    return body;
  }

  #openChannel() {
    const channel = this.#connection.createDataChannel("ping", { ordered: false, maxRetransmits: 0 });
    channel.addEventListener("open", () => {
      this.#tell("log", "data channel open");
      this.#timers.push(setInterval(() => this.#ping(channel), PING_INTERVAL));
      this.#ping(channel);
    });
    channel.addEventListener("message", ({ data }) => this.#pong(data));
  }

  #ping(channel) {
    if (channel.readyState !== "open") return;
    const name = String(this.#sequence++);
    this.#pings.set(name, performance.now());
    if (this.#pings.size > PENDING_PINGS) this.#pings.delete(this.#pings.keys().next().value);
    channel.send(name);
  }

  #pong(name) {
    const sent = this.#pings.get(name);
    if (sent === undefined) return;
    this.#pings.delete(name);
    const last = performance.now() - sent;
    const { count, least, sum } = this.trips;
    this.trips = { count: count + 1, last, least: Math.min(least ?? last, last), sum: sum + last };
  }

  async #read() {
    const report = await this.#connection.getStats();
    if (this.#closed) return;
    this.#previous = read(report, this.#previous);
    this.#tell("reading", this.#previous);
  }

  #tell(type, detail) {
    if (!this.#closed) this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Offers no video codec but `name`, where the browser has it. The order of an offer binds no answerer. */
function restrict(connection, name) {
  const { codecs } = RTCRtpReceiver.getCapabilities("video");
  const wanted = codecs.filter(({ mimeType }) => [`video/${name}`, "video/rtx"].includes(mimeType));
  if (!wanted.some(({ mimeType }) => mimeType === `video/${name}`)) return;
  for (const transceiver of connection.getTransceivers()) {
    if (transceiver.sender.track?.kind === "video") transceiver.setCodecPreferences(wanted);
  }
}

/** A candidate as people write it. */
export function written({ address, port, protocol }) {
  return `${protocol} ${endpoint(address, port)}`;
}

/** An address and port; IPv6 in brackets. */
export function endpoint(address, port) {
  return address?.includes(":") ? `[${address}]:${port}` : `${address ?? "?"}:${port}`;
}
