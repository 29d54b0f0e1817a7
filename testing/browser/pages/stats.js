// What a browser itself reports of a PeerConnection, in the form that the tests ask for. Nothing here knows the page.

async function peerStats(pc) {
  const report = await pc.getStats();
  const all = [...report.values()];
  const pair = selectedPair(all);
  return {
    state: pc.connectionState,
    remote: candidate(report.get(pair?.remoteCandidateId)),
    local: candidate(report.get(pair?.localCandidateId)),
    framesDecoded: inbound(all, "video", "framesDecoded"),
    audioEnergy: inbound(all, "audio", "totalAudioEnergy"),
  };
}

/** The sum of a figure over all that comes in of a medium. */
function inbound(all, medium, figure) {
  return all
    .filter((entry) => entry.type === "inbound-rtp" && entry.kind === medium)
    .reduce((sum, entry) => sum + (entry[figure] ?? 0), 0);
}

// Chromium names the selected pair in its transport; Firefox marks the pair itself.
function selectedPair(all) {
  const transport = all.find((entry) => entry.type === "transport" && entry.selectedCandidatePairId);
  const pairs = all.filter((entry) => entry.type === "candidate-pair" && entry.nominated);
  return (
    pairs.find((pair) => pair.id === transport?.selectedCandidatePairId) ??
    pairs.find((pair) => pair.selected) ??
    pairs.find((pair) => pair.state === "succeeded")
  );
}

function candidate(entry) {
  return entry ? { address: entry.address ?? null, port: entry.port, protocol: entry.protocol } : null;
}
