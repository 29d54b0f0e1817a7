// Many Janus sessions in one page through the stock janus.js, each with a handle of the echo test that goes on asking
// for events: `window.crowd` is all that the tests use. Nothing here knows that there is a proxy.
//
// `crowd.join({server, sessions, calls})` makes sessions, the first `calls` of them with video, and resolves once each
// has heard its first event, and its video is connected; `crowd.report()` tells of all that there ever were.

const PAUSE_MS = 300;
const JOIN_MS = 30_000;
/** Small: the point is how many there are. */
const CAMERA = { width: 160, height: 120, frameRate: 10 };

const members = [];
window.crowd = { join, report };

const initialised = new Promise((callback) => Janus.init({ debug: ["error"], callback }));

async function join({ server, sessions, calls }) {
  await initialised;
  const began = performance.now();
  const joining = Array.from({ length: sessions }, (_, index) => member(server, index < calls));
  members.push(...joining);
  const late = new Promise((resolve) => setTimeout(resolve, JOIN_MS));
  await Promise.race([Promise.all(joining.map((one) => one.joined)), late]);
  return performance.now() - began;
}

async function report() {
  return await Promise.all(
    members.map(async ({ session, rounds, failure, handle }) => {
      const peer = handle?.webrtcStuff.pc;
      return { session, rounds, failure, call: peer ? await peerStats(peer) : null };
    }),
  );
}

function member(server, withCall) {
  const self = { session: null, rounds: 0, failure: null, handle: null };
  let heard = () => {};
  const event = () => new Promise((resolve) => (heard = resolve));
  self.joined = new Promise((resolve) => {
    const fail = (why) => {
      self.failure ??= String(why?.message ?? why);
      resolve();
    };
    let connected = !withCall;
    const arrived = () => connected && self.rounds > 0 && resolve();
    const ask = async () => {
      while (self.failure === null) {
        const answered = event();
        self.handle.send({ message: { audio: true }, error: fail });
        await answered;
        self.rounds += 1;
        arrived();
        await new Promise((wake) => setTimeout(wake, PAUSE_MS));
      }
    };
    const janus = new Janus({
      server,
      iceServers: [],
      destroyOnUnload: false,
      error: fail,
      success: () => {
        self.session = String(janus.getSessionId());
        janus.attach({
          plugin: "janus.plugin.echotest",
          error: fail,
          success: (handle) => {
            self.handle = handle;
            if (withCall) call(handle, fail);
            ask();
          },
          onmessage: (message, jsep) => {
            if (message.error) fail(message.error);
            if (jsep) self.handle.handleRemoteJsep({ jsep, error: fail });
            heard();
          },
          webrtcState: (up) => {
            connected ||= up;
            arrived();
          },
        });
      },
    });
  });
  return self;
}

function call(handle, fail) {
  handle.createOffer({
    tracks: [{ type: "video", capture: CAMERA, recv: true }],
    success: (jsep) => handle.send({ message: { video: true }, jsep, error: fail }),
    error: fail,
  });
}
