//! A stream of which the beginning has been read already.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// Gives its first `N` bytes again, then what follows.
pub(crate) struct Preread<S, const N: usize> {
    beginning: [u8; N],
    given: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin, const N: usize> Preread<S, N> {
    /// Reads the beginning.
    pub(crate) async fn new(mut stream: S) -> io::Result<Self> {
        let mut beginning = [0; N];
        stream.read_exact(&mut beginning).await?;
        Ok(Self { beginning, given: 0, stream })
    }

    /// What was read.
    pub(crate) fn beginning(&self) -> &[u8; N] {
        &self.beginning
    }
}

impl<S: AsyncRead + Unpin, const N: usize> AsyncRead for Preread<S, N> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = &self.beginning[self.given..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let taken = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..taken]);
        self.given += taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, const N: usize> AsyncWrite for Preread<S, N> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
