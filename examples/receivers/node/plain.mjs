/**
 * A receiver of signed webhooks, with nothing but Node.
 *
 *     PORT=8080 WEBHOOK_SECRET=whsec_… node plain.mjs
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import process from 'node:process';

const TOLERANCE_S = 5 * 60;

const key = Buffer.from(process.env.WEBHOOK_SECRET?.replace(/^whsec_/, '') ?? '', 'base64');
if (key.length < 24) {
  throw new Error('WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64');
}

function isSigned(headers, body) {
  const id = headers['webhook-id'];
  const timestamp = headers['webhook-timestamp'];
  if (!id || !/^\d+$/.test(timestamp)) return false;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) return false;
  const mac = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body);
  const expected = Buffer.from(`v1,${mac.digest('base64')}`);
  // One for each of the sender's secrets. `===` would allow timing attacks.
  return (headers['webhook-signature'] ?? '').split(' ').some((text) => {
    const signature = Buffer.from(text);
    return signature.length === expected.length && timingSafeEqual(signature, expected);
  });
}

/** The key that the webhook is about; null when the body is none that is understood here. */
function keyIn(body) {
  try {
    const { key } = JSON.parse(body).data;
    return typeof key === 'string' ? key : null;
  } catch {
    return null;
  }
}

// An application keeps them in a table, written in one transaction with the work: then neither is
// there without the other.
const ids = new Set();

/** The status to answer with. */
async function receive(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  // The raw body: what JSON.parse and JSON.stringify make of it has another signature.
  const body = Buffer.concat(chunks);
  if (!isSigned(request.headers, body)) return 401;
  const id = request.headers['webhook-id'];
  const key = keyIn(body);
  if (key === null) {
    // A route with a custom body. The id is not kept, so that a retry can succeed.
    console.error(`${id}: expected JSON with data.key`);
    return 400;
  }
  // As JSON: a key may hold a line break.
  console.log(id, ids.has(id) ? 'repeat' : JSON.stringify(key));
  ids.add(id);
  return 204;
}

createServer((request, response) => {
  receive(request)
    .catch((error) => {
      console.error(error);
      return 500; // the webhook comes again
    })
    .then((status) => response.writeHead(status).end());
}).listen(process.env.PORT, '127.0.0.1');
