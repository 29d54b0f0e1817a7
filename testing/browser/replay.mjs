// Plays a Janus video recording (.mjr, VP8) as an endless RTP stream, so that a streaming mountpoint has real
// video.
//
//   node replay.mjs RECORDING PORT
//
// Only its beginning is looped: the recording has a single keyframe, at its start, it cannot be asked for more,
// and a viewer who joins late or was cut off has to wait for the next one. Sequence numbers, timestamps and VP8
// picture ids run on across the loop.

import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";

const LOOP_SECONDS = 0.3;
const CLOCK_RATE = 90_000;
const RTP_HEADER = 12;

const [recording, port] = process.argv.slice(2);
const packets = beginning(rtpPackets(readFileSync(recording)));
const frames = new Set(packets.map(timestamp)).size;
const loopTicks = Math.round((frames * (timestamp(packets.at(-1)) - timestamp(packets[0]))) / (frames - 1));
const socket = createSocket("udp4");
const started = performance.now();
let sent = 0;
send();

function send() {
  const round = Math.floor(sent / packets.length);
  const original = packets[sent % packets.length];
  const ticks = round * loopTicks + timestamp(original) - timestamp(packets[0]);
  const due = started + (ticks * 1000) / CLOCK_RATE;
  const now = performance.now();
  if (due > now) {
    setTimeout(send, due - now);
    return;
  }
  const packet = Buffer.from(original);
  packet.writeUInt16BE(sent & 0xffff, 2);
  packet.writeUInt32BE(ticks >>> 0, 4);
  renumberPicture(packet, round);
  socket.send(packet, Number(port), "127.0.0.1");
  sent += 1;
  setImmediate(send);
}

function timestamp(packet) {
  return packet.readUInt32BE(4);
}

// The file is a run of records: an 8-byte mark, a 16-bit length, that many bytes. The first one names the
// medium.
function rtpPackets(file) {
  const records = [];
  for (let at = 0; at + 10 <= file.length; ) {
    const length = file.readUInt16BE(at + 8);
    records.push(file.subarray(at + 10, at + 10 + length));
    at += 10 + length;
  }
  return records.slice(1).filter((record) => record.length > RTP_HEADER);
}

function beginning(all) {
  const end = timestamp(all[0]) + LOOP_SECONDS * CLOCK_RATE;
  return all.filter((packet) => timestamp(packet) < end);
}

// RFC 7741 section 4.2: with X, I and M set, the picture id is the 15 bits after the two flag bytes.
function renumberPicture(packet, round) {
  const at = RTP_HEADER + 2;
  const flags = [packet[RTP_HEADER], packet[RTP_HEADER + 1], packet[at]];
  if (flags.some((byte) => (byte & 0x80) === 0)) {
    throw new Error("the recording has no 15-bit picture ids");
  }
  const picture = (packet.readUInt16BE(at) + round * frames) & 0x7fff;
  packet.writeUInt16BE(0x8000 | picture, at);
}
