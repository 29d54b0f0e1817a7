// Clients of a Janus REST API, as janus.js speaks it from a page of another origin: preflights, long polls, no cookies.
//
//   node rest-clients.mjs BASE COUNT
//
// Prints `session ID` for each session once it has an echotest handle, `ready` when all have, `round N` whenever every
// client that goes on has done N rounds, and `failure ID MS REASON` for one that ends.
const [base, count] = [process.argv[2], Number(process.argv[3])];
const ORIGIN = 'https://elsewhere.example';
const PAUSE = 200;
const TRIES = 50;
const EVENT_PATIENCE = 2000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const transaction = () => Math.random().toString(36).slice(2);
const rounds = new Map();

async function ask(path, options = {}) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await askOnce(path, options);
    } catch (error) {
      // What never came to an answer is asked again, as janus.js does with its long polls.
      if (!(error instanceof TypeError) || tries === TRIES) throw error;
      await pause(PAUSE);
    }
  }
}

async function askOnce(path, options) {
  const response = await fetch(base + path, { ...options, headers: { origin: ORIGIN, ...options.headers } });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`status ${response.status}`);
  return text;
}

async function post(path, message) {
  await ask(path, { method: 'OPTIONS', headers: { 'access-control-request-method': 'POST' } });
  const body = JSON.stringify({ transaction: transaction(), ...message });
  const text = await ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const answer = JSON.parse(text);
  if (answer.janus === 'error') throw new Error(`janus ${answer.error.code}`);
  return answer;
}

function progress() {
  const least = Math.min(...rounds.values());
  if (rounds.size > 0 && least > progress.told) {
    progress.told = least;
    console.log(`round ${least}`);
  }
}
progress.told = 0;

async function client() {
  const session = (await post('', { janus: 'create' })).data.id;
  const handle = (await post(`/${session}`, { janus: 'attach', plugin: 'janus.plugin.echotest' })).data.id;
  console.log(`session ${session}`);
  return { session, handle };
}

// One loop polls for events, the other asks for some; either fails as soon as the other server is asked.
async function goOn({ session, handle }) {
  let began = performance.now();
  let events = 0;
  let over = false;
  const poll = async () => {
    while (!over) {
      const text = await ask(`/${session}?rid=${Date.now()}&maxev=10`);
      const answers = [JSON.parse(text)].flat();
      for (const answer of answers) {
        if (answer.janus === 'error') throw new Error(`janus ${answer.error.code}`);
        if (answer.janus === 'event') events += 1;
      }
    }
  };
  const talk = async () => {
    for (;;) {
      began = performance.now();
      const before = events;
      await post(`/${session}`, { janus: 'keepalive' });
      // An event that Janus wrote to a connection which broke is gone: it is asked for again.
      while (events === before) {
        await post(`/${session}/${handle}`, { janus: 'message', body: { audio: true } });
        const patience = performance.now() + EVENT_PATIENCE;
        while (events === before && performance.now() < patience) await pause(5);
      }
      // The poll may have failed meanwhile: then this one does not count any more.
      if (over) return;
      rounds.set(session, rounds.get(session) + 1);
      progress();
      await pause(PAUSE);
    }
  };
  rounds.set(session, 0);
  try {
    await Promise.race([poll(), talk()]);
  } catch (error) {
    over = true;
    rounds.delete(session);
    const took = Math.round(performance.now() - began);
    console.log(`failure ${session} ${took} ${error.message}${error.cause ? ` ${error.cause.code}` : ''}`);
    progress();
  }
}

const clients = await Promise.all(Array.from({ length: count }, client));
console.log('ready');
await Promise.all(clients.map(goOn));
