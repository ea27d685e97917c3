// The way in to the containers: any of them answers any request, so each goes to one by chance, and nothing is repeated.
import { Container, getRandom } from "@cloudflare/containers";
import { env as settings } from "cloudflare:workers";
import { forwarded } from "./forwarded.js";

export class Switchboard extends Container {
  defaultPort = 3232;
  pingEndpoint = "localhost/healthz";
  // Requests keep it awake, and so does a stream that is open. One that sleeps is started by the next request.
  sleepAfter = "30m";
  envVars = {
    BASE_URI: settings.BASE_URI,
    AUTH_MODE: settings.AUTH_MODE,
    SECRET_KEY: settings.SECRET_KEY,
    REDIS_URL: settings.REDIS_URL,
    LOG_FORMAT: "json",
    // Nothing but this script reaches the port.
    TRUSTED_PROXIES: "0.0.0.0/0,::/0",
  };
}

export default {
  async fetch(request, env) {
    const worker = await getRandom(env.WORKERS, Number(env.INSTANCES));
    return worker.fetch(forwarded(request));
  },
};
