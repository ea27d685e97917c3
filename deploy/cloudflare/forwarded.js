// What a worker hears of who asks: what Cloudflare knows, in place of what the client wrote itself. docs/proxies.md
export function forwarded(request) {
  const url = new URL(request.url);
  const headers = new Headers(request.headers);
  headers.set("X-Forwarded-For", request.headers.get("CF-Connecting-IP") ?? "unknown");
  headers.set("X-Forwarded-Proto", url.protocol.slice(0, -1));
  headers.set("X-Forwarded-Host", url.host);
  headers.delete("Forwarded");
  return new Request(request, { headers, redirect: "manual" });
}
