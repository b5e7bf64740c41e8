"""A service as teams write them: FastAPI under uvicorn, with no regard for what stands before it."""

import asyncio
import hashlib

from fastapi import FastAPI, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse

app = FastAPI()
left = asyncio.Event()


@app.get("/api/v1/ingest/left")
async def wait_until_left():
    """Answers once the client of a stream has gone."""
    await asyncio.wait_for(left.wait(), 10)
    return {"left": True}


@app.get("/api/v1/ingest/stream")
async def stream(request: Request, events: int = 5):
    async def body():
        try:
            for number in range(events):
                yield f"id: {number}\ndata: event {number}\n\n"
                await asyncio.sleep(0.1)
        finally:
            if await request.is_disconnected():
                left.set()

    return StreamingResponse(body(), media_type="text/event-stream")


@app.get("/api/v1/ingest/broken")
async def broken():
    async def body():
        yield "the first half\n"
        raise RuntimeError("the second half is lost")

    return StreamingResponse(body(), media_type="text/plain")


@app.post("/api/v1/ingest/hash")
async def upload_hash(request: Request):
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest()}


@app.post("/api/v1/ingest/form")
async def form(title: str = Form(), file: UploadFile = File()):
    return {
        "title": title,
        "name": file.filename,
        "sha256": hashlib.sha256(await file.read()).hexdigest(),
    }


@app.get("/api/v1/ingest/slow")
async def slow(seconds: float = 30):
    await asyncio.sleep(seconds)
    return {"slept": seconds}


@app.get("/api/v1/ingest/redirect")
async def redirect():
    return RedirectResponse("/api/v1/ingest/echo?redirected=1")


@app.get("/api/v1/ingest/cookies")
async def cookies():
    response = Response("ok")
    response.set_cookie("first", "1", httponly=True)
    response.set_cookie("second", "2", secure=True)
    return response


@app.get("/api/v1/ingest/nothing", status_code=204)
async def nothing():
    return Response(status_code=204)


@app.api_route("/api/v1/{rest:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def echo(request: Request, rest: str):
    body = await request.body()
    return JSONResponse(
        {
            "method": request.method,
            "target": request.scope["raw_path"].decode("latin-1")
            + ("?" + request.scope["query_string"].decode("latin-1") if request.scope["query_string"] else ""),
            "client": request.client.host,
            "scheme": request.url.scheme,
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw],
            "body": body.decode("utf-8", "replace"),
        }
    )
