import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;

/** Netty: an echo of bytes, and HTTP with bodies of up to 8 MiB. */
final class Nettys {
    /** Does not read on while the peer does not take what it sent. */
    private static final class Echo extends ChannelInboundHandlerAdapter {
        @Override
        public void channelRead(ChannelHandlerContext c, Object bytes) {
            c.writeAndFlush(bytes);
        }

        @Override
        public void channelWritabilityChanged(ChannelHandlerContext c) {
            c.channel().config().setAutoRead(c.channel().isWritable());
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext c, Throwable e) {
            c.close();
        }
    }

    private static final class Http extends SimpleChannelInboundHandler<FullHttpRequest> {
        @Override
        protected void channelRead0(ChannelHandlerContext c, FullHttpRequest in) {
            ByteBuf body = in.uri().equals("/echo") ? in.content().retain() : Unpooled.wrappedBuffer(Main.HELLO);
            DefaultFullHttpResponse out = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK, body);
            HttpUtil.setContentLength(out, body.readableBytes());
            HttpUtil.setKeepAlive(out, HttpUtil.isKeepAlive(in));
            c.writeAndFlush(out);
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext c, Throwable e) {
            c.close();
        }
    }

    private static void listen(EventLoopGroup group, int port, boolean http) throws InterruptedException {
        new ServerBootstrap().group(group).channel(NioServerSocketChannel.class).option(ChannelOption.SO_BACKLOG, 1000)
            .childHandler(new ChannelInitializer<Channel>() {
                @Override
                protected void initChannel(Channel c) {
                    if (http)
                        c.pipeline().addLast(new HttpServerCodec(), new HttpObjectAggregator(8 << 20), new Http());
                    else
                        c.pipeline().addLast(new Echo());
                }
            }).bind(port).sync();
    }

    static void start(int echo, int http) throws InterruptedException {
        EventLoopGroup group = new NioEventLoopGroup(2);
        listen(group, echo, false);
        listen(group, http, true);
    }
}
