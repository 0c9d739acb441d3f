/**
 * A receiver of signed webhooks in Express, with the Standard Webhooks library.
 *
 *     npm ci && PORT=8080 WEBHOOK_SECRET=whsec_… node express.mjs
 */
import process from 'node:process';
import express from 'express';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';

const webhook = new Webhook(process.env.WEBHOOK_SECRET);

// An application keeps them in a table, written in one transaction with the work: then neither is
// there without the other.
const ids = new Set();

/** The key that the webhook is about; null when the body is none that is understood here. */
function keyIn(body) {
  try {
    const { key } = JSON.parse(body).data;
    return typeof key === 'string' ? key : null;
  } catch {
    return null;
  }
}

const app = express();

// On this route alone, and before any app.use(express.json()): the signature is of the raw body.
// A key may have 1 MiB; Express would refuse what is above 100 kB.
app.post('/{*path}', express.raw({ type: '*/*', limit: '8mb' }), (request, response) => {
  const body = request.body ?? '';
  webhook.verify(body, request.headers, { jsonParse: false });
  const id = request.get('webhook-id');
  const key = keyIn(body);
  if (key === null) {
    // A route with a custom body. The id is not kept, so that a retry can succeed.
    console.error(`${id}: expected JSON with data.key`);
    return response.sendStatus(400);
  }
  console.log(id, ids.has(id) ? 'repeat' : JSON.stringify(key));
  ids.add(id);
  response.sendStatus(204);
});

app.use((error, _request, response, next) => {
  if (error instanceof WebhookVerificationError) response.sendStatus(401);
  else next(error); // 500: the webhook comes again
});

app.listen(process.env.PORT, '127.0.0.1');
