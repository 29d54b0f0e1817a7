// Reads a call's figures out of RTCPeerConnection.getStats(). Browsers differ in what they report:
// whatever is missing is null, never a guess.

/** One reading. `previous` is the reading before it, for the bitrates. */
export function read(report, previous) {
  const stats = [...report.values()];
  const pair = selectedPair(report, stats);
  const video = stats.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  const sent = stats.find(({ type, kind }) => type === "outbound-rtp" && kind === "video");
  const inbound = stats.filter(({ type }) => type === "inbound-rtp");
  const outbound = stats.filter(({ type }) => type === "outbound-rtp");
  const reading = {
    time: performance.now(),
    bytesIn: total(inbound, "bytesReceived"),
    bytesOut: total(outbound, "bytesSent"),
    localCandidate: candidate(report.get(pair?.localCandidateId)),
    remoteCandidate: candidate(report.get(pair?.remoteCandidateId)),
    rttMs: pair?.currentRoundTripTime != null ? pair.currentRoundTripTime * 1000 : null,
    framesDecoded: video?.framesDecoded ?? 0,
    framesDropped: video?.framesDropped ?? 0,
    framesPerSecond: video?.framesPerSecond ?? null,
    width: video?.frameWidth ?? null,
    height: video?.frameHeight ?? null,
    sentWidth: sent?.frameWidth ?? null,
    sentHeight: sent?.frameHeight ?? null,
    sentFramesPerSecond: sent?.framesPerSecond ?? null,
    codecs: codecs(report, inbound),
    lostIn: total(inbound, "packetsLost"),
    lostOut: total(stats.filter(({ type }) => type === "remote-inbound-rtp"), "packetsLost"),
    packetsIn: total(inbound, "packetsReceived"),
  };
  reading.bitrateIn = rate(reading, previous, "bytesIn");
  reading.bitrateOut = rate(reading, previous, "bytesOut");
  return reading;
}

/** The pair that carries the media: named by the transport, or, in older Firefox, marked `selected`. */
function selectedPair(report, stats) {
  const transport = stats.find(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId);
  const pairs = stats.filter(({ type }) => type === "candidate-pair");
  return (
    (transport && report.get(transport.selectedCandidatePairId)) ??
    pairs.find(({ selected }) => selected) ??
    pairs.find(({ nominated, state }) => nominated && state === "succeeded")
  );
}

function candidate(stat) {
  if (!stat) return null;
  return {
    address: stat.address || stat.ip || null,
    port: stat.port,
    protocol: stat.protocol,
    type: stat.candidateType,
  };
}

function codecs(report, inbound) {
  const names = inbound.map(({ codecId }) => report.get(codecId)?.mimeType?.split("/")[1]);
  return [...new Set(names.filter(Boolean))];
}

function total(stats, field) {
  return stats.reduce((sum, stat) => sum + (stat[field] ?? 0), 0);
}

function rate(reading, previous, field) {
  if (!previous) return null;
  const seconds = (reading.time - previous.time) / 1000;
  return Math.max(0, ((reading[field] - previous[field]) * 8) / seconds);
}
