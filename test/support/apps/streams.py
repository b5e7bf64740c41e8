"""WebSockets and event streams as teams write them: what their clients do is told to whoever asks."""

import asyncio
from collections import defaultdict

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

app = FastAPI()
# By a name that the test chooses
ends = defaultdict(lambda: asyncio.get_running_loop().create_future())
emitted = defaultdict(asyncio.Queue)
PREFIX = "/api/v1/query"


@app.websocket(PREFIX + "/echo")
async def echo(socket: WebSocket):
    offered = socket.headers.get("sec-websocket-protocol", "").replace(" ", "").split(",")
    await socket.accept(subprotocol="chat.v2" if "chat.v2" in offered else None)
    identity = {name: socket.headers.getlist(name) for name in ("x-company-id", "x-user-id")}
    await socket.send_json({"offered": offered, "query": socket.url.query, **identity})
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass


@app.websocket(PREFIX + "/wait/{name}")
async def wait(socket: WebSocket, name: str):
    """Says nothing, and remembers with which code it was closed."""
    await socket.accept()
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect as end:
        ends[name].set_result(end.code)


@app.websocket(PREFIX + "/leave")
async def leave(socket: WebSocket):
    await socket.accept()
    await socket.send_text("goodbye")
    await socket.close(code=4100)


@app.websocket(PREFIX + "/refuse")
async def refuse(socket: WebSocket):
    await socket.close(code=4403)


@app.get(PREFIX + "/end/{name}")
async def end(name: str):
    """Answers once what has that name has ended, with how."""
    return {"end": await asyncio.wait_for(ends[name], 15)}


@app.post(PREFIX + "/emit/{name}")
async def emit(name: str, request: Request):
    await emitted[name].put((await request.body()).decode())
    return {}


@app.get(PREFIX + "/events/{name}")
async def events(name: str, request: Request):
    """Sends what is emitted, at once; an empty text is the end."""

    async def body():
        try:
            yield f"data: {request.headers.get('last-event-id', 'from the start')}\n\n"
            while text := await emitted[name].get():
                yield text
            ends[name].set_result("whole")
        finally:
            if not ends[name].done():
                ends[name].set_result("cancelled")

    return StreamingResponse(body(), media_type="text/event-stream")
